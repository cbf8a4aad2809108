// Agents whose start is waited for, beside those that wait for their connection: a few at a time, and those that never get ready.

import { Fingerprints } from "./fingerprints.ts";
import type { Uuid } from "./row.ts";
import type { OverWord } from "./start.ts";

export class Starting {
  /** Everything that agents wait for: has what is here, too, each time. */
  readonly #all: Fingerprints;
  readonly #starting = new Fingerprints();
  /** Their start has timed out, and may be over yet. */
  readonly #late = new Fingerprints();
  /** How often each is in `#starting` because it was told to start once more: nothing but its own rows tells when that is over. */
  readonly #again = new Map<Uuid, number>();
  /** How the start of those that wait was last told to be over, until that is counted and they are forgotten. */
  readonly #told = new Map<number, number>();

  constructor(all: Fingerprints) {
    this.#all = all;
  }

  add(print: number): void {
    this.#told.delete(print);
    this.#starting.add(print);
    this.#all.add(print);
  }

  delete(print: number): void {
    this.#told.delete(print);
    if (this.#starting.delete(print)) this.#all.delete(print);
  }

  addLate(print: number): void {
    this.#late.add(print);
    this.#all.add(print);
  }

  deleteLate(print: number): void {
    this.#told.delete(print);
    if (this.#late.delete(print)) this.#all.delete(print);
  }

  again(id: Uuid): void {
    this.#again.set(id, (this.#again.get(id) ?? 0) + 1);
  }

  endAgain(id: Uuid, print: number): void {
    for (let times = this.#again.get(id) ?? 0; times > 0; times -= 1) this.delete(print);
    this.#again.delete(id);
  }

  /** How many of those in the set of everything are of here. */
  count(print: number): number {
    return this.#starting.count(print) + this.#late.count(print);
  }

  /** Whether it is news that an agent starts: not of one that is known to, and has not been told to be over. */
  begins(print: number): boolean {
    return !this.#starting.has(print) || this.#told.has(print);
  }

  /** Whether it is news of one that waits that its start is over. `told`: how, as a small number. */
  isOver(print: number, word: OverWord, told: number): boolean {
    const waits = this.#starting.has(print) || (word !== "start_timeout" && this.#late.has(print));
    if (!waits || this.#told.get(print) === told) return false;
    this.#told.set(print, told);
    return true;
  }
}
