// How late it is to Coder, as far as its rows show: who reads tables has no other way to know that an agent's time is up by the clocks
// that will tell when it connected.

import type { Micros } from "../change/micros.ts";
import type { JobRow } from "../change/row.ts";

export class RowClock {
  readonly #limit: Micros | null;
  #latest: Micros = Number.NEGATIVE_INFINITY;

  /** `limit`: the server's time, which no row written by hand, or by a clock that is far ahead, can pass; null: not known. */
  constructor(limit: Micros | null) {
    this.#limit = limit;
  }

  /** Takes the times that a job's row tells. */
  see({ createdAt, startedAt, canceledAt, completedAt }: JobRow): void {
    const latest = Math.max(createdAt, startedAt ?? createdAt, canceledAt ?? createdAt);
    this.#latest = Math.max(this.#latest, latest, completedAt ?? createdAt);
  }

  /** It is as late as this, or later. */
  get now(): Micros {
    return this.#limit === null ? Number.NEGATIVE_INFINITY : Math.min(this.#latest, this.#limit);
  }
}
