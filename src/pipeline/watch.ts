// Beside the live loop: asks the server every few seconds how our slot and publication are: what the source itself does not
// show. Since Postgres 18 a publication that is gone raises no error: changes are silently skipped.

import { setTimeout as sleep } from "node:timers/promises";
import { Transient } from "../errors.ts";
import type { Moment } from "../change/source.ts";
import { type Lsn, maxLsn } from "../lsn.ts";
import { publicationState } from "../postgres/publication.ts";
import { isPinned, readPlace } from "../postgres/peek.ts";
import { type SlotState, serverState } from "../postgres/slot.ts";
import type { Position } from "../store/position.ts";
import type { Context } from "./context.ts";
import { lookAtSlot, noteTimeline, slotLagLimit } from "./observe.ts";

const ASK_EVERY_MS = 10_000;
const LOOK_EVERY_MS = 100;
const GROWN_TIMES = 3;

export interface WatchOptions {
  readonly context: Context;
  readonly source: {
    /** How far the server has told us everything, whether or not it is handled. */
    readonly received: Lsn;
    /** Nothing received is waiting to be handled. */
    readonly idle: boolean;
    readonly silentForMs: number;
    /** Told where the server stood, and when; absent: it asks for itself. */
    note?(moment: Moment): void;
  };
  readonly position: Position;
  /** Where the server was when the source began: caught up means having received this, with nothing left to handle. */
  readonly target: Lsn;
  /** Whether to say `enough` once bursts would do. */
  readonly leave: boolean;
}

export interface Watcher extends Disposable {
  /** Aborts when this stream has caught up and nothing keeps it from being read in bursts. */
  readonly enough: AbortSignal;
  /** Aborts when the source must be broken and begun again; its reason is the classed error. */
  readonly broken: AbortSignal;
}

/** Watches until disposed. */
export function watch(options: WatchOptions): Watcher {
  const done = new AbortController();
  const broken = new AbortController();
  const enough = new AbortController();
  loop(options, enough, done.signal).catch((error: unknown) => {
    if (!done.signal.aborted) broken.abort(error);
  });
  return {
    enough: enough.signal,
    broken: broken.signal,
    // A question that is under way is not waited for: the server may never answer it.
    [Symbol.dispose]: () => done.abort(),
  };
}

async function loop(
  options: WatchOptions,
  enough: AbortController,
  signal: AbortSignal,
): Promise<void> {
  options.context.vitals.catchingUp = true;
  const lag: Lag = { before: 0, grown: 0 };
  let askAt = 0;
  for (;;) {
    look(options);
    if (performance.now() >= askAt) {
      await ask(options, lag);
      if (options.leave && (await isFree(options))) enough.abort();
      askAt = performance.now() + ASK_EVERY_MS;
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}

/** Reads memory only. */
function look({ source, context: { vitals }, target }: WatchOptions): void {
  vitals.received = maxLsn(vitals.received ?? source.received, source.received);
  vitals.lastMessageAt = Math.round(Date.now() - source.silentForMs) * 1000;
  if (!source.idle) return;
  vitals.applied = maxLsn(vitals.applied ?? source.received, source.received);
  if (source.received >= target) vitals.catchingUp = false;
}

/** A stream that was chosen because of an open transaction is left once that has ended and we have caught up. */
async function isFree({ context: { session, config, vitals } }: WatchOptions): Promise<boolean> {
  if (vitals.catchingUp) return false;
  const { confirmed, restart } = await readPlace(session, config.slot);
  return confirmed !== null && !isPinned({ confirmed, restart }, 0n);
}

async function ask({ context, source, position }: WatchOptions, lag: Lag): Promise<void> {
  const { session, config } = context;
  const slot = await lookAtSlot(context);
  const { at, ...server } = await serverState(session);
  noteTimeline(context, server);
  if (at !== null) source.note?.({ end: server.end, at });
  if (slot && !slot.temporary) await requireLag(context, slot, lag);
  const { fingerprint } = await publicationState(session, config.publication);
  if (fingerprint !== position.publication) {
    throw new Transient("the publication was changed", { reason: "publication_changed" });
  }
}

/** What the slot held back when it was last asked, in bytes, and how often in a row it had grown beyond its limit. */
interface Lag {
  before: number;
  grown: number;
}

/**
 * Breaks the stream when the slot holds back too much, and ever more: one that is being worked off, or waits for the server's
 * next checkpoint, shrinks or stands still. Only a slot that nobody uses can be dropped, which the next attempt does.
 */
async function requireLag(context: Context, slot: SlotState, lag: Lag): Promise<void> {
  const limit = await slotLagLimit(context);
  const grows = limit !== null && slot.retainedBytes > limit && slot.retainedBytes > lag.before;
  lag.grown = grows ? lag.grown + 1 : 0;
  lag.before = slot.retainedBytes;
  if (lag.grown < GROWN_TIMES) return;
  throw new Transient("the slot holds back more WAL than --max-slot-lag", { reason: "slot_lag" });
}
