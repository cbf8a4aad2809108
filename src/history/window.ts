// Which moments are written: the ticks of a regular grid, cut into blocks where Prometheus cuts its own.
//
// All is counted in ticks, whole multiples of one length since the epoch. What happened between two ticks is seen at the later
// one, so a value at a tick is of everything up to that moment, and a window is the same wherever it is read from.

import { type Micros, SECOND } from "../change/micros.ts";

/** Both ends are part of it. */
export interface Range {
  readonly since: Micros;
  readonly until: Micros;
}

export interface Window {
  readonly tick: Micros;
  readonly first: number;
  readonly last: number;
  /** Ticks before its first count at which a series is 0, so that there is something to grow from. */
  readonly lead: number;
  /** At multiples of so many ticks there is a sample of everything; null: at none. */
  readonly grid: number | null;
}

/** A stretch of a window that becomes one file. */
export interface Block {
  /** Where Prometheus' own block of this length begins. */
  readonly start: Micros;
  /** Ticks of the window that lie in it, both included. */
  readonly first: number;
  readonly last: number;
}

const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MILLISECOND: Micros = 1_000;

/** How far apart samples are, unless somebody says otherwise: about 1,500 to 9,000 of them. */
export function stepFor({ since, until }: Range): Micros {
  const length = until - since;
  if (length <= DAY) return MINUTE;
  return length <= 14 * DAY ? 5 * MINUTE : HOUR;
}

/**
 * How long blocks are: of 2 hours times a power of 3, as Prometheus makes them. Short where it will soon merge and delete them
 * by itself, long where there would be many: promtool takes its time for each.
 */
export function blockLengthFor({ since, until }: Range): Micros {
  const days = (until - since) / DAY;
  if (days <= 1) return 2 * HOUR;
  if (days <= 14) return 18 * HOUR;
  if (days <= 120) return 54 * HOUR;
  return days <= 3 * 366 ? 162 * HOUR : 486 * HOUR;
}

/** A sample at every step: what Prometheus needs, which looks back no more than five minutes. */
export function steppedWindow({ since, until }: Range, step: Micros): Window {
  const [first, last] = [Math.ceil(since / step), Math.floor(until / step)];
  return { tick: step, first, last, lead: 1, grid: 1 };
}

/** Samples to the millisecond, one for each change; with `everyStep` at every step besides. */
export function exactWindow({ since, until }: Range, step: Micros, everyStep: boolean): Window {
  const lead = step / MILLISECOND;
  return {
    tick: MILLISECOND,
    first: Math.ceil(since / MILLISECOND),
    last: Math.floor(until / MILLISECOND),
    lead,
    grid: everyStep ? lead : null,
  };
}

/** The first tick at which what happened at this time is counted. */
export function tickOf(at: Micros, { tick }: Pick<Window, "tick">): number {
  return Math.ceil(at / tick);
}

/** The blocks that have ticks of this window, in order. */
export function* blocksOf({ tick, first, last }: Window, length: Micros): Generator<Block> {
  let start = Math.floor((first * tick) / length) * length;
  while (start <= last * tick) {
    const next = start + length;
    const block = {
      start,
      first: Math.max(first, Math.ceil(start / tick)),
      last: Math.min(last, Math.ceil(next / tick) - 1),
    };
    if (block.first <= block.last) yield block;
    start = next;
  }
}
