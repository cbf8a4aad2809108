// What `/api/facts` searches in tests.

import type { FactsOptions } from "../../src/http/facts.ts";
import { searchFacts } from "../../src/store/query.ts";

export type Facts = Pick<FactsOptions, "search" | "coderUrl">;

/** An empty ledger. */
export const NO_FACTS: Facts = {
  *search() {
    yield;
    return { upTo: null, facts: [], more: false };
  },
  coderUrl: null,
};

/** The ledger of a store's file, as `serve` searches it. */
export function factsOf(path: string, coderUrl: string | null = null): Facts {
  return { search: (question) => searchFacts(path, question), coderUrl };
}
