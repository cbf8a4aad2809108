// Reading the slot in bursts: everything that is there, in one query, then a pause.
//
// A walsender that streams is woken by every commit on the server and sends each message by itself, which costs the database
// several times what decoding costs. Between bursts nobody holds the slot, so each burst proves that nobody moved it.

import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { NeedsOperator, Transient } from "../errors.ts";
import { type Lsn, formatLsn, maxLsn, toLsn } from "../lsn.ts";
import type { Batch, Source } from "../change/source.ts";
import { Decoder, type DecoderOptions } from "./decode.ts";
import {
  READ_AT_ONCE_BYTES,
  type SlotPlace,
  isPinned,
  peek,
  prepareToPeek,
  readPlace,
} from "./peek.ts";
import { Pending } from "./pending.ts";
import { type Session, openSession } from "./session.ts";
import { advanceSlot } from "./slot.ts";
import { Silence } from "./silence.ts";
import { asUnreadable } from "./tuple.ts";

/** A stream or a query that just ended holds the slot until its server process is through. */
const RELEASED_WITHIN_MS = 2_000;
const LOOK_AGAIN_MS = 20;
const GOODBYE_MS = 1_000;

export interface BurstOptions extends DecoderOptions {
  readonly clientConfig: pg.ClientConfig;
  readonly slot: string;
  readonly publication: string;
  /** Asks what is asked beside the bursts: decoding empties the caches of its own session. */
  readonly beside: Session;
  /** Where the slot was found to stand. */
  readonly confirmed: Lsn;
  /** Where to start; not before `confirmed`. */
  readonly start: Lsn;
  /** From the end of one burst to that of the next, in milliseconds: so old is what is shown at most. */
  readonly everyMs: number;
  /** A query that says nothing for so long is asked after. Default: 60 s. */
  readonly silenceMs?: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Connects, for a slot that nobody holds (`requireReleased`); it is not touched before `durable` was called and the first batch
 * is asked for. Throws classed errors.
 */
export async function openBursts(options: BurstOptions): Promise<Bursts> {
  const session = await openSession(options.clientConfig, { signal: options.signal });
  try {
    await prepareToPeek(session);
    return new Bursts(session, options);
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

export class Bursts implements Source {
  readonly session: Session;
  readonly #options: BurstOptions;
  /** Where the slot stands, as far as we moved it. */
  #confirmed: Lsn;
  #durable: Lsn;
  #received: Lsn;
  #pinned = false;
  #busy = false;
  #heardAt = performance.now();
  readonly #pending = new Pending();

  constructor(session: Session, options: BurstOptions) {
    this.session = session;
    this.#options = options;
    this.#confirmed = options.confirmed;
    this.#durable = options.confirmed;
    this.#received = options.start;
  }

  /** Everything up to here was read. */
  get received(): Lsn {
    return this.#received;
  }

  /** Nothing is being read, or waits for the consumer, or is being handled by it. */
  get idle(): boolean {
    return !this.#busy;
  }

  /** How long ago the server last answered, in milliseconds. */
  get silentForMs(): number {
    return performance.now() - this.#heardAt;
  }

  /** Aborts when the connection is lost; its reason is the classed error. */
  get failed(): AbortSignal {
    return this.session.lost;
  }

  /** The batches ended because streaming is cheaper now. */
  get pinned(): boolean {
    return this.#pinned;
  }

  durable(end: Lsn): void {
    this.#durable = maxLsn(this.#durable, end);
  }

  /** Ends when the signal aborts, or when an open transaction makes bursts dear (`pinned`). Throws classed errors. */
  async *batches(signal: AbortSignal): AsyncGenerator<Batch> {
    while (!signal.aborted) {
      const began = performance.now();
      this.#busy = true;
      const until = await this.#nextUntil();
      if (until !== null) yield* this.#read(until.lsn, signal);
      // Nothing happened, but time has passed.
      else if (this.#pending.reaches(this.#received)) yield this.#pending.take(this.#received);
      this.#busy = false;
      if (this.#pinned) break;
      if (until?.more === true) continue;
      // What was committed just after this burst began is to be shown in time, so the next one begins as much earlier as it takes.
      const { everyMs } = this.#options;
      const took = Math.min(performance.now() - began, everyMs / 2);
      await nap(began + everyMs - took - performance.now(), signal);
    }
    // The stream that comes next says by itself how far we are. To move a pinned slot the server decodes all that is open, and would
    // still hold the slot when the stream asks for it.
    if (this.#pinned) return;
    // At best: what is not acknowledged comes again, and the ledger ignores it. A server that is gone never answers.
    const limit = sleep(GOODBYE_MS, undefined, { ref: false });
    await Promise.race([this.#acknowledge().catch(() => undefined), limit]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
  }

  /** How far to read now, and whether there is more behind; null when there is nothing new, or this is no way to read it. */
  async #nextUntil(): Promise<{ readonly lsn: Lsn; readonly more: boolean } | null> {
    const { end, at, restart } = await this.#requireUnmoved(this.#confirmed);
    this.#heard();
    if (at !== null) this.#pending.note({ end, at });
    if (end <= this.#received) {
      if (this.#durable > this.#confirmed) await this.#acknowledge();
      return null;
    }
    const more = end - this.#received > READ_AT_ONCE_BYTES;
    const lsn = more ? toLsn(this.#received + READ_AT_ONCE_BYTES) : end;
    this.#pinned = isPinned({ confirmed: this.#confirmed, restart }, lsn - this.#received);
    return this.#pinned ? null : { lsn, more };
  }

  async *#read(until: Lsn, signal: AbortSignal): AsyncGenerator<Batch> {
    const { slot, publication } = this.#options;
    const decoder = new Decoder(this.#options);
    const advanceTo = this.#durable > this.#confirmed ? this.#durable : null;
    const onMessage = (message: Buffer): void => this.#onMessage(decoder, message);
    const { session } = this;
    using _ending = this.#endingWith(signal);
    using silence = this.#silence();
    silence.waits();
    for await (const _ of peek({ session, slot, publication, advanceTo, until, onMessage })) {
      this.#heard();
      silence.waits();
      if (!this.#pending.many) continue;
      silence.rests();
      // The server has read all of it before it sent the first byte, so what is proved now holds for the rest.
      await this.#requireUnmoved(advanceTo ?? this.#confirmed);
      yield this.#pending.take(decoder.end);
      this.#heard();
      silence.waits();
    }
    silence.rests();
    await this.#requireUnmoved(advanceTo ?? this.#confirmed);
    this.#confirmed = advanceTo ?? this.#confirmed;
    this.#received = maxLsn(until, decoder.end);
    yield this.#pending.take(this.#received);
  }

  #onMessage(decoder: Decoder, message: Buffer): void {
    try {
      const tx = decoder.decode(message);
      if (tx) this.#pending.add(tx);
    } catch (error) {
      throw asUnreadable(error);
    }
  }

  /**
   * A confirmed position only ever grows, so if it is the one we know, everything read since began there. Else somebody else
   * used the slot, and the next attempt finds out what that means. Throws `Transient`.
   */
  async #requireUnmoved(expected: Lsn): Promise<SlotPlace> {
    const { beside, slot } = this.#options;
    const place = await readPlace(beside, slot);
    if (place.confirmed === expected) return place;
    const found = place.confirmed === null ? "is gone" : `stands at ${formatLsn(place.confirmed)}`;
    throw new Transient(`the slot ${found}, we left it at ${formatLsn(expected)}`, {
      reason: "slot_moved",
    });
  }

  async #acknowledge(): Promise<void> {
    const to = this.#durable;
    if (to <= this.#confirmed) return;
    await advanceSlot(this.session, this.#options.slot, to);
    this.#confirmed = to;
  }

  /** A query that we wait for and that is not running was lost with its connection. */
  #silence(): Silence {
    const { beside, silenceMs } = this.#options;
    const { pid } = this.session;
    const onSilent = (): void => this.#giveUp();
    return new Silence({ beside, pid, silenceMs, onSilent, onRunning: () => this.#heard() });
  }

  /** A stop lets a query end; an error elsewhere does not wait for it. */
  #endingWith(signal: AbortSignal): Disposable {
    const onAbort = (): void => {
      const { reason } = signal;
      if (reason instanceof Transient || reason instanceof NeedsOperator) this.#giveUp();
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    return { [Symbol.dispose]: () => signal.removeEventListener("abort", onAbort) };
  }

  #heard(): void {
    this.#heardAt = performance.now();
  }

  #giveUp(): void {
    this.session.client.connection.stream.destroy();
  }
}

/** Waits for what we read it by before to let go. Throws `Transient` when the slot stays held. */
export async function requireReleased({
  beside,
  slot,
  signal,
}: Pick<BurstOptions, "beside" | "slot" | "signal">): Promise<void> {
  const deadline = performance.now() + RELEASED_WITHIN_MS;
  for (;;) {
    const { activePid } = await readPlace(beside, slot);
    if (activePid === null) return;
    if (performance.now() > deadline) {
      throw new Transient(`the slot ${slot} is held by process ${activePid} of the server`, {
        reason: "slot_in_use",
      });
    }
    await nap(LOOK_AGAIN_MS, signal);
    signal.throwIfAborted();
  }
}

/** Waits, but no longer than the signal allows. */
async function nap(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal }).catch(() => undefined);
}
