// When a server comes back with less than it once had, what was counted from the lost part stays counted: totals never
// fall. The ledger is then both histories together, by id, and lists what only the lost one had.

import { expect } from "vitest";
import type { Server } from "../../../src/demo/server.ts";
import { readLedger } from "../../support/ledger.ts";
import { type RecountById, recountById } from "../../support/recount.ts";
import { connect } from "../../support/standby.ts";
import { urlOf } from "./site.ts";

/** What a server's tables hold now. */
export async function historyOf(server: Server): Promise<RecountById> {
  await using client = await connect(urlOf(server));
  // Awaited here: the client ends with this scope.
  return await recountById(client);
}

const started = ({ jobs }: RecountById): ReadonlyMap<string, unknown> => jobs;
const ran = ({ jobs }: RecountById): ReadonlyMap<string, unknown> =>
  new Map(
    [...jobs].filter(([, job]) => job.type !== "workspace_build" && job.completedAt !== null),
  );

/** How many attempts are in the first history and not in the second. */
export function lostAttempts(before: RecountById, after: RecountById): number {
  return [...before.attempts.keys()].filter((id) => !after.attempts.has(id)).length;
}

/**
 * The ledger holds exactly what either history holds, and says which ids have vanished from the tables; those of `unfinished`
 * (`kind id`) are there again without a final time, and are listed as revised. Nobody may have the store open.
 */
export function expectBothHistories(
  statePath: string,
  before: RecountById,
  after: RecountById,
  unfinished: readonly string[] = [],
): void {
  const ledger = readLedger(statePath);
  const ids = (pick: (history: RecountById) => readonly ReadonlyMap<string, unknown>[]): string[] =>
    [
      ...new Set(
        [before, after].flatMap((history) => pick(history).flatMap((map) => [...map.keys()])),
      ),
    ].sort();
  expect([...ledger.attempted.keys()].sort()).toEqual(ids(({ attempts }) => [attempts]));
  expect([...ledger.ended.keys()].sort()).toEqual(ids(({ outcomes }) => [outcomes]));
  expect([...ledger.connected.keys()].sort()).toEqual(
    ids(({ connections, negative }) => [connections, negative]),
  );
  expect([...ledger.created.keys()].sort()).toEqual(ids((history) => [history.created]));
  expect([...ledger.deleted.keys()].sort()).toEqual(ids((history) => [history.deletes]));
  expect([...ledger.started.keys()].sort()).toEqual(ids((history) => [started(history)]));
  expect([...ledger.ran.keys()].sort()).toEqual(ids((history) => [ran(history)]));
  expect([...ledger.ready.keys()].sort()).toEqual(ids((history) => [history.ready]));
  // Their agents may be there again, and not be ready.
  const unready = missing("ready", ledger.ready, [after.ready]);
  for (const key of unready) expect(ledger.divergent.has(key), key).toBe(true);
  // Those who were late; of those who never connected the ledger may wait to tell.
  expect(missing("overdue", ledger.overdue, [before.overdue, after.overdue])).toEqual([]);
  const lost = [
    ...unready.filter((key) => !after.outcomes.has(key.slice("ready ".length))),
    ...missing("attempted", ledger.attempted, [after.attempts]),
    ...missing("ended", ledger.ended, [after.outcomes]),
    ...missing("created", ledger.created, [after.created]),
    ...missing("deleted", ledger.deleted, [after.deletes]),
    ...missing("started", ledger.started, [started(after)]),
    ...missing("ran", ledger.ran, [ran(after)]),
    ...missing("connected", ledger.connected, [after.connections, after.negative]),
    ...missing("overdue", ledger.overdue, [after.overdue]),
  ];
  const vanished = [...ledger.divergent].filter(([, reason]) => reason === "vanished");
  expect(vanished.map(([key]) => key).sort()).toEqual(
    lost.filter((key) => !unfinished.includes(key)).sort(),
  );
  for (const key of unfinished) expect(ledger.divergent.get(key), key).toBe("revised");
  expect(Object.fromEntries(ledger.refolded)).toEqual(Object.fromEntries(ledger.stored));
}

/** What was counted and is in none of these tables, as the ledger names it. */
function missing(
  kind: string,
  counted: ReadonlyMap<string, unknown>,
  tables: readonly ReadonlyMap<string, unknown>[],
): string[] {
  return [...counted.keys()]
    .filter((id) => !tables.some((table) => table.has(id)))
    .map((id) => `${kind} ${id}`);
}
