// What came over the stream, counted: one object for the life of the process, added to by every stream.

import { TABLES, type Table } from "./row.ts";

export const OPERATIONS = ["insert", "update", "delete", "truncate"] as const;
export type Operation = (typeof OPERATIONS)[number];

export interface StreamCounts {
  transactions: number;
  readonly changes: Readonly<Record<Table, Record<Operation, number>>>;
}

const zero = (): Record<Operation, number> => ({ insert: 0, update: 0, delete: 0, truncate: 0 });

export function newCounts(): StreamCounts {
  return {
    transactions: 0,
    changes: { workspace_builds: zero(), provisioner_jobs: zero(), workspace_agents: zero() },
  };
}

/** Every table with every operation and its count. */
export function* eachChange(
  counts: StreamCounts,
): Generator<{ table: Table; op: Operation; count: number }> {
  for (const table of TABLES)
    for (const op of OPERATIONS) yield { table, op, count: counts.changes[table][op] };
}
