// Where transactions come from: the slot, a recording, later bursts. Declared here because the pipeline and the sources
// of Postgres both need it.

import type { Lsn } from "../lsn.ts";
import type { Tx } from "./row.ts";

/** Whole transactions, in commit order, as many as were there when they were asked for. */
export interface Batch {
  readonly txs: readonly Tx[];
  /** Everything up to here is in `txs` or had no news: storing this position with their effects loses nothing. */
  readonly end: Lsn;
  /** The server's commit time of the newest transaction seen, with news or without; null before the first. */
  readonly at: number | null;
}

/** A source is read by one consumer, in order. It yields when there is news, or a position worth storing. */
export interface Source extends AsyncDisposable {
  /** Ends when the signal aborts; throws when the source breaks. */
  batches(signal: AbortSignal): AsyncIterable<Batch>;
  /** Everything up to `end` is durable: it may be acknowledged, exactly. */
  durable(end: Lsn): void;
}
