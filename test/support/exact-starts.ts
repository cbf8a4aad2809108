// Starts by id: what the ledger says of when a build's agents were ready, against the tables and against what was meant to happen.

import { expect } from "vitest";
import type { Expected } from "../../src/demo/coder/tally.ts";
import type { Ledger } from "./ledger.ts";
import type { RecountById } from "./recount.ts";

/**
 * Equal, except for exactly the ids that the ledger lists as divergent: of these the tables may even say by now that an agent is
 * not ready.
 */
export function expectStartsEqualTables(
  ledger: Ledger,
  { ready }: Pick<RecountById, "ready">,
): void {
  const divergent = (id: string): boolean => ledger.divergent.has(`ready ${id}`);
  const counted = [...ledger.ready.keys()].filter((id) => ready.has(id) || !divergent(id));
  expect(counted.sort()).toEqual([...ready.keys()].sort());
  for (const [id, { readyAt, took, status, isPrebuild }] of ready) {
    const fact = ledger.ready.get(id);
    const tells = status === null || fact?.status === status;
    const same = fact?.at === readyAt && fact.took === took && tells;
    expect(same || divergent(id), `start of job ${id}`).toBe(true);
    expect(fact?.traits.prebuild).toBe(isPrebuild);
  }
}

/**
 * As they were first; of those that were rewritten the ledger may have begun with what the tables said by then, and of those that have
 * shut down, as Coder would: that it was well.
 */
export function expectStartsEqualTally(
  ledger: Ledger,
  { starts, rewritten, shutDown }: Pick<Expected, "starts" | "rewritten" | "shutDown">,
): void {
  expect([...ledger.ready.keys()].sort()).toEqual([...starts.keys()].sort());
  for (const [job, { readyAt, took, status }] of starts) {
    if (rewritten.has(job)) continue;
    const fact = ledger.ready.get(job);
    const { at, took: counted, status: how } = fact ?? {};
    const wasWell = shutDown.has(job) && how === "success";
    expect({ at, took: counted, status: how }, `start of job ${job}`).toEqual({
      at: readyAt,
      took,
      status: wasWell ? "success" : status,
    });
  }
}
