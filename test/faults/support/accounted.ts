// The oracle for rows that were rewritten or deleted after they were counted: what the ledger has, the tables have too,
// but for exactly the ids that it lists itself. What no stream can show (TRUNCATE carries no ids) is told by the test.

import type pg from "pg";
import { expect } from "vitest";
import { type Ledger, divergentBesideStarts, readLedger } from "../../support/ledger.ts";
import { recountById } from "../../support/recount.ts";

export interface Accounted {
  /** `kind id` → reason, as the test expects the ledger to list them. */
  readonly divergent?: Readonly<Record<string, "revised" | "vanished">>;
  /** `kind id` of rows that are gone or other than counted, where the stream had no word of it. */
  readonly unseen?: readonly string[];
}

const text = (value: unknown): string => JSON.stringify(value) ?? "nothing";

/** By id: ledger and tables are equal, except for these. Reads the store of a follower that has left. */
export async function expectAccounted(
  client: pg.Client,
  statePath: string,
  { divergent = {}, unseen = [] }: Accounted = {},
): Promise<Ledger> {
  const ledger = readLedger(statePath);
  expect(Object.fromEntries(divergentBesideStarts(ledger))).toEqual(divergent);
  const tables = await recountById(client);
  const counted = new Map<string, unknown>([
    ...[...ledger.attempted.values()].map(({ id, at }) => [`attempted ${id}`, at] as const),
    ...[...ledger.ended.values()].map(
      ({ id, at, status, stage, errorCode }) =>
        [`ended ${id}`, [at, status, stage, errorCode]] as const,
    ),
    ...[...ledger.connected.values()].map(
      ({ id, at, took }) => [`connected ${id}`, [at, took]] as const,
    ),
  ]);
  const there = new Map<string, unknown>([
    ...[...tables.attempts].map(([id, createdAt]) => [`attempted ${id}`, createdAt] as const),
    ...[...tables.outcomes].map(
      ([id, { completedAt, status, stage, errorCode }]) =>
        [`ended ${id}`, [completedAt, status, stage ?? "", errorCode ?? ""]] as const,
    ),
    ...[...tables.connections, ...tables.negative].map(
      ([id, { firstConnectedAt, took }]) => [`connected ${id}`, [firstConnectedAt, took]] as const,
    ),
  ]);
  const different = [...new Set([...counted.keys(), ...there.keys()])].filter(
    (key) => text(counted.get(key)) !== text(there.get(key)),
  );
  expect(different.sort()).toEqual([...Object.keys(divergent), ...unseen].sort());
  expect(Object.fromEntries(ledger.refolded)).toEqual(Object.fromEntries(ledger.stored));
  return ledger;
}
