// How far the reading of a temporary ledger is: numbers that the reader writes, and the line that a terminal shows of them.

import { newCounts, eachChange } from "../change/counts.ts";
import type { Lsn } from "../lsn.ts";
import { formatLsn } from "../lsn.ts";
import type { RowCounts } from "../postgres/tables.ts";

export class LedgerProgress {
  /** Rows of the tables, and about how many there are; null where the server does not know. */
  readonly rows: RowCounts = { builds: 0, agents: 0 };
  about: Readonly<RowCounts<number | null>> = { builds: null, agents: null };
  /** Changes that the slot told. */
  readonly changes = newCounts();
  /** Where the slot is read from, has been read to, and will be read to; null where there is none, or before and after that. */
  slot: { readonly from: Lsn; readonly at: Lsn; readonly until: Lsn } | null = null;
}

/** Makes lines, one after the other, of how far it is; what it says per second is since the line before. */
export class ProgressLines {
  readonly #progress: LedgerProgress;
  #before = { done: 0, atMs: 0 };
  #unit = "";

  constructor(progress: LedgerProgress) {
    this.#progress = progress;
  }

  /** `nowMs`: of a clock that only goes forward. Empty before there is anything to say. */
  line(nowMs: number): string {
    const { slot } = this.#progress;
    return slot === null ? this.#tables(nowMs) : this.#slot(slot, nowMs);
  }

  #slot({ from, at, until }: NonNullable<LedgerProgress["slot"]>, nowMs: number): string {
    let changes = 0;
    for (const { count } of eachChange(this.#progress.changes)) changes += count;
    const done = Number(at - from) / MEGABYTE;
    const whole = Number(until - from) / MEGABYTE;
    const rate = this.#rate("MB", done, nowMs);
    return [
      `slot: ${grouped(changes)} changes, at ${formatLsn(at)} of ${formatLsn(until)}`,
      `${done.toFixed(0)} of ${whole.toFixed(0)} MB`,
      ...pace(rate, rate.toFixed(1), "MB/s", whole - done),
    ].join(", ");
  }

  #tables(nowMs: number): string {
    const { rows, about } = this.#progress;
    const done = rows.builds + rows.agents;
    if (done === 0) return "";
    const rate = this.#rate("rows", done, nowMs);
    const whole = about.builds === null ? null : about.builds + (about.agents ?? 0);
    const of = (n: number | null): string => (n === null ? "" : ` of about ${grouped(n)}`);
    return [
      `tables: ${grouped(rows.builds)}${of(about.builds)} builds, ${grouped(rows.agents)}${of(about.agents)} agents`,
      ...pace(rate, grouped(Math.round(rate)), "rows/s", whole === null ? null : whole - done),
    ].join(", ");
  }

  /** Per second, since the line before; 0 where there is none of this unit. */
  #rate(unit: string, done: number, nowMs: number): number {
    const { done: before, atMs } = this.#before;
    const same = this.#unit === unit;
    this.#before = { done, atMs: nowMs };
    this.#unit = unit;
    return same && nowMs > atMs ? Math.max(0, ((done - before) * 1000) / (nowMs - atMs)) : 0;
  }
}

const MEGABYTE = 2 ** 20;

/** How fast, and how long what is left takes at this pace. */
function pace(rate: number, shown: string, unit: string, left: number | null): string[] {
  if (rate === 0) return [];
  const speed = `${shown} ${unit}`;
  return left === null || left <= 0 ? [speed] : [speed, `about ${duration(left / rate)} left`];
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** 1234567 → 1,234,567. */
function grouped(n: number): string {
  return n.toLocaleString("en-US");
}
