// Tables are read in no order, but what created a workspace is the lowest of its builds that could have: candidates wait
// here until nothing lower can come. Those of first builds never do, so few wait.

import type { Uuid } from "../change/row.ts";
import type { Created, Fact } from "./fact.ts";
import type { State } from "./state.ts";

export class Firsts {
  readonly #lowest = new Map<Uuid, Created>();

  /** The facts that are certain by now; the others are kept. `ledger`: what was certain before. */
  certain(facts: readonly Fact[], ledger: Pick<State, "known">): Fact[] {
    return facts.filter((fact) => fact.kind !== "created" || this.#isFirst(fact, ledger));
  }

  /** Nothing more comes: what waits is certain. */
  rest(): Created[] {
    return [...this.#lowest.values()];
  }

  #isFirst(fact: Created, ledger: Pick<State, "known">): boolean {
    if (fact.number <= 1) {
      this.#lowest.delete(fact.id);
      return true;
    }
    const other = this.#lowest.get(fact.id);
    const lower =
      other === undefined ? !ledger.known("created", fact.id) : fact.number < other.number;
    if (lower) this.#lowest.set(fact.id, fact);
    return false;
  }
}
