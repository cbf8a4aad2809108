// Jobs of all types by id: what the ledger says of the workers that had them, against the tables.

import { expect } from "vitest";
import type { Ledger } from "./ledger.ts";
import type { RecountById } from "./recount.ts";

/** Equal, except for exactly the ids that the ledger lists as divergent. */
export function expectJobsEqualTables(ledger: Ledger, { jobs }: Pick<RecountById, "jobs">): void {
  const divergent = (kind: string, id: string): boolean => ledger.divergent.has(`${kind} ${id}`);
  const others = [...jobs].filter(([, { type }]) => type !== "workspace_build");
  const over = others.filter(([, { completedAt }]) => completedAt !== null);
  const running = [...jobs].filter(([, { completedAt }]) => completedAt === null);

  expect([...ledger.started.keys()].sort()).toEqual([...jobs.keys()].sort());
  for (const [id, { startedAt, waited, type, provisioner }] of jobs) {
    const fact = ledger.started.get(id);
    const same = fact?.at === startedAt && fact.took === waited;
    expect(same || divergent("started", id), `start of job ${id}`).toBe(true);
    const of = fact && "type" in fact ? fact : { type: "workspace_build", ...fact?.traits };
    expect({ type: of.type, provisioner: of.provisioner }).toEqual({ type, provisioner });
  }

  expect([...ledger.ran.keys()].sort()).toEqual(over.map(([id]) => id).sort());
  for (const [id, { completedAt, took, status, type, provisioner }] of over) {
    const fact = ledger.ran.get(id);
    const same = fact?.at === completedAt && fact.took === took && fact.status === status;
    expect(same || divergent("ran", id), `job ${id}`).toBe(true);
    expect({ type: fact?.type, provisioner: fact?.provisioner }).toEqual({ type, provisioner });
  }
  expect([...ledger.running].sort()).toEqual(running.map(([id]) => id).sort());
}
