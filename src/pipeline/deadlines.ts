// Agents whose time is not up, the next one first. Only of these does anything wait in memory: an agent that is overdue costs nothing.

import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import { GRACE } from "../derive/overdue.ts";
import type { Entity } from "../derive/state.ts";
import type { Timing } from "./context.ts";

/** When an agent's time is up, by the server's clock. */
export interface Deadline {
  readonly agent: Uuid;
  readonly due: Micros;
}

/** How long after its time is up an agent is told overdue. */
export function graceOf(timing: Partial<Timing> | undefined): Micros {
  return timing?.graceMs === undefined ? GRACE : timing.graceMs * 1_000;
}

export class Deadlines {
  /** A heap: none is due after one of its two children. */
  readonly #heap: Deadline[] = [];
  readonly #grace: Micros;

  /** `waiting`: what the store has. `grace`: how long after their time they are told of. */
  constructor(waiting: Iterable<Deadline>, grace: Micros) {
    this.#grace = grace;
    for (const deadline of waiting) this.#push(deadline);
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Takes those that begin to wait. */
  add(put: readonly Entity[]): void {
    for (const entity of put)
      if (entity.kind === "agent" && entity.due !== null)
        this.#push({ agent: entity.id, due: entity.due });
  }

  /** Takes out those whose time and grace are up at this time; some may have connected meanwhile. */
  *passed(at: Micros | null): Generator<Uuid> {
    if (at === null) return;
    for (let [first] = this.#heap; first && first.due + this.#grace <= at; [first] = this.#heap) {
      this.#pop();
      yield first.agent;
    }
  }

  #push(deadline: Deadline): void {
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.due <= deadline.due) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = deadline;
  }

  /** The last one takes the place of the first, and sinks to its own. */
  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let place = 0;
    for (;;) {
      const [left, right] = [heap[2 * place + 1], heap[2 * place + 2]];
      const isRight = left !== undefined && right !== undefined && right.due < left.due;
      const child = isRight ? right : left;
      if (child === undefined || child.due >= last.due) break;
      heap[place] = child;
      place = 2 * place + (isRight ? 2 : 1);
    }
    heap[place] = last;
  }
}
