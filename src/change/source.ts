// Where transactions come from: the slot, a recording, later bursts. Declared here because the pipeline and the sources
// of Postgres both need it.

import type { Lsn } from "../lsn.ts";
import type { Micros } from "./micros.ts";
import type { Tx } from "./row.ts";

/** Whole transactions, in commit order, as many as were there when they were asked for. */
export interface Batch {
  readonly txs: readonly Tx[];
  /** Everything up to here is in `txs` or had no news: storing this position with their effects loses nothing. */
  readonly end: Lsn;
  /** Everything that was committed before this time, by the server's clock, is here or came before; null: not known yet. */
  readonly readUpTo: Micros | null;
}

/** What was committed before this time, by the server's clock, lies before this position of its WAL. */
export interface Moment {
  readonly end: Lsn;
  readonly at: Micros;
}

/**
 * A source is read by one consumer, in order. It yields when there is news, or a position worth storing, or when nothing happens but
 * time passes.
 */
export interface Source extends AsyncDisposable {
  /** Ends when the signal aborts; throws when the source breaks. */
  batches(signal: AbortSignal): AsyncIterable<Batch>;
  /** Everything up to `end` is durable: it may be acknowledged, exactly. */
  durable(end: Lsn): void;
}
