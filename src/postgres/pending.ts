// News that was decoded and waits for the consumer, whichever way the slot is read.

import type { Lsn } from "../lsn.ts";
import type { Micros } from "../change/micros.ts";
import type { Tx } from "../change/row.ts";
import type { Batch, Moment } from "../change/source.ts";

/** Rows beyond which reading stops until the consumer has taken them. */
const MANY_ROWS = 20_000;

export class Pending {
  #txs: Tx[] = [];
  #rows = 0;
  /** The next moment to be reached. */
  #moment: Moment | null = null;
  #readUpTo: Micros | null = null;
  readonly #manyRows: number;

  constructor(manyRows = MANY_ROWS) {
    this.#manyRows = manyRows;
  }

  get empty(): boolean {
    return this.#txs.length === 0;
  }

  /** There is so much that it must be taken before more is read. */
  get many(): boolean {
    return this.#rows > this.#manyRows;
  }

  /** End of the newest transaction; undefined when nothing waits. */
  get end(): Lsn | undefined {
    return this.#txs.at(-1)?.end;
  }

  add(tx: Tx): void {
    this.#txs.push(tx);
    this.#rows += tx.rows.length;
  }

  /** Until a moment is reached others are no news: whoever lags for long would never reach the newest. */
  note(moment: Moment): void {
    this.#moment ??= moment;
  }

  /** Whether a moment is reached once everything up to here is taken. */
  reaches(end: Lsn): boolean {
    return this.#moment !== null && end >= this.#moment.end;
  }

  /** All that waits, as the batch that ends here. */
  take(end: Lsn): Batch {
    if (this.#moment !== null && end >= this.#moment.end) {
      this.#readUpTo = this.#moment.at;
      this.#moment = null;
    }
    const txs = this.#txs;
    this.#txs = [];
    this.#rows = 0;
    return { txs, end, readUpTo: this.#readUpTo };
  }
}
