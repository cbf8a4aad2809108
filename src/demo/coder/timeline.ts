// Simulated time: processes that wait for each other's turn on one virtual clock (a discrete-event simulation).
// One process runs at a time, and time only moves between two turns, so the order of everything depends on the seed alone,
// however fast or slow the server answers.

import type { Micros } from "../../change/micros.ts";
import { must } from "../../errors.ts";

/** Something that happens over time: each yield waits that many simulated microseconds. */
export type Process<T = void> = AsyncGenerator<Micros, T, void>;

interface Turn {
  readonly at: Micros;
  readonly order: number;
  readonly process: Process<unknown>;
}

const POLL: Micros = 10_000;
const PATIENCE: Micros = 3_600_000_000;

export class Timeline {
  #now: Micros;
  #order = 0;
  /** Latest turn first, so that the next one is popped from the end. */
  readonly #turns: Turn[] = [];

  constructor(startAt: Micros) {
    this.#now = startAt;
  }

  get now(): Micros {
    return this.#now;
  }

  /** When the next turn is due; undefined when nothing is left to happen. */
  get nextAt(): Micros | undefined {
    return this.#turns.at(-1)?.at;
  }

  /** Adds a process; its first turn comes after those already due now. */
  start(process: Process<unknown>): void {
    this.#schedule(process, this.#now);
  }

  /** Moves the clock to the next turn and takes it. Rejects with what the process threw. */
  async advance(): Promise<void> {
    const { at, process } = must(this.#turns.pop(), "nothing is left to happen");
    this.#now = at;
    const step = await process.next();
    if (step.done !== true) this.#schedule(process, at + step.value);
  }

  /** Waits until something another process does has happened. Throws if an hour of simulated time did not bring it. */
  async *until(condition: () => boolean): Process {
    const deadline = this.#now + PATIENCE;
    while (!condition()) {
      if (this.#now > deadline)
        throw new Error("the simulation waits for something that never happens");
      yield POLL;
    }
  }

  #schedule(process: Process<unknown>, at: Micros): void {
    const turn = { at, order: this.#order, process };
    this.#order += 1;
    let low = 0;
    let high = this.#turns.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (must(this.#turns[middle], "index in range").at > at) low = middle + 1;
      else high = middle;
    }
    this.#turns.splice(low, 0, turn);
  }
}
