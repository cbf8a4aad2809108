// News that was decoded and waits for the consumer, whichever way the slot is read.

import type { Lsn } from "../lsn.ts";
import type { Micros } from "../change/micros.ts";
import type { Tx } from "../change/row.ts";
import type { Batch } from "../change/source.ts";

/** Rows beyond which reading stops until the consumer has taken them. */
const MANY_ROWS = 20_000;

export class Pending {
  #txs: Tx[] = [];
  #rows = 0;
  #at: Micros | null = null;
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
    this.#at = tx.at;
  }

  /** All that waits, as the batch that ends here. */
  take(end: Lsn): Batch {
    const txs = this.#txs;
    this.#txs = [];
    this.#rows = 0;
    return { txs, end, at: this.#at };
  }
}
