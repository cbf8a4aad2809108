// Relation messages: which of our tables a number stands for, and where its columns are.

import { NeedsOperator } from "../errors.ts";
import { ROW_COLUMNS } from "../change/cells.ts";
import { TABLES, type Table } from "../change/row.ts";
import { CODER_SCHEMA } from "./publication.ts";

/** The time that makes a row news. Builds have none: all their columns are immutable. */
const WATCHED: Readonly<Record<Table, string>> = {
  workspace_builds: "id",
  provisioner_jobs: "completed_at",
  workspace_agents: "first_connected_at",
};

export interface Relation {
  /** The number by which rows name it, on this connection. */
  readonly oid: number;
  readonly table: Table;
  readonly columns: ReadonlyMap<string, number>;
  /** Type of each column, by its oid. */
  readonly types: readonly number[];
  /** Column numbers that the sieve looks at. */
  readonly id: number;
  readonly watched: number;
  /** Of jobs: what tells that one runs, and is being canceled. */
  readonly started: number;
  readonly worker: number;
  readonly canceled: number;
  /** Of agents: what tells that a sub-agent is gone. */
  readonly deleted: number;
  readonly parent: number;
  /** Of agents: what tells how their start goes. */
  readonly lifecycle: number;
  readonly ready: number;
}

/**
 * Reads a Relation message. Throws `NeedsOperator` when one of our tables lacks a column that is needed, and when it is none of
 * ours: the publication has nothing else, so it is one of them under another name, and its rows may be news.
 */
export function readRelation(message: Buffer): Relation {
  const namespaceEnd = message.indexOf(0, 5);
  const nameEnd = message.indexOf(0, namespaceEnd + 1);
  const name = message.toString("utf8", namespaceEnd + 1, nameEnd);
  const count = message.readUInt16BE(nameEnd + 2);
  const columns = new Map<string, number>();
  const types: number[] = [];
  // Per column: flags (1 byte), name (to the zero), type (4), modifier (4).
  let offset = nameEnd + 4;
  for (let i = 0; i < count; i += 1) {
    const end = message.indexOf(0, offset + 1);
    columns.set(message.toString("utf8", offset + 1, end), i);
    types.push(message.readUInt32BE(end + 1));
    offset = end + 9;
  }
  const oid = message.readUInt32BE(1);
  const schema = message.toString("utf8", 5, namespaceEnd);
  const table = schema === CODER_SCHEMA ? TABLES.find((known) => known === name) : undefined;
  if (table === undefined) {
    throw new NeedsOperator(
      `the stream has rows of ${schema}.${name}, which is none of our tables`,
      {
        reason: "table_unknown",
        hint: "one of Coder's tables has, or had for a while, another name, or the publication has more tables: run `firstlight setup` and compare",
      },
    );
  }
  const missing = ROW_COLUMNS[table].filter((column) => !columns.has(column));
  if (missing.length > 0) {
    throw new NeedsOperator(`the stream of ${table} lacks ${missing.join(", ")}`, {
      reason: "column_missing",
      hint: "the publication or Coder's schema changed: run `firstlight setup` and compare; Coder 2.24 or newer has every column that is needed",
    });
  }
  return {
    oid,
    table,
    columns,
    types,
    id: columns.get("id") ?? 0,
    watched: columns.get(WATCHED[table]) ?? 0,
    started: columns.get("started_at") ?? 0,
    worker: columns.get("worker_id") ?? 0,
    canceled: columns.get("canceled_at") ?? 0,
    deleted: columns.get("deleted") ?? 0,
    parent: columns.get("parent_id") ?? 0,
    lifecycle: columns.get("lifecycle_state") ?? 0,
    ready: columns.get("ready_at") ?? 0,
  };
}
