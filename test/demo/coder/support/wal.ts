// What a logical slot really brings: transactions in commit order, and in each the kinds of rows in execution order.
// Its own small reader of pgoutput (message letters and relation names only), so that it shares no mistake with src.

import type pg from "pg";
import { must } from "../../../../src/errors.ts";

export interface WalTx {
  readonly xid: number;
  /** E.g. `insert workspace_builds`. */
  readonly changes: readonly string[];
}

export interface Wal {
  /** The transactions that have committed since the last call. */
  read(): Promise<readonly WalTx[]>;
}

const OPERATIONS: Readonly<Record<string, string>> = { I: "insert", U: "update", D: "delete" };

/** Starts to listen to every table of this database. */
export async function listen(client: pg.Client): Promise<Wal> {
  const slot = `wal_${process.pid}_${(await client.query("select txid_current() as xid")).rows[0].xid}`;
  await client.query("create publication everything for all tables");
  await client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  return {
    async read() {
      const { rows } = await client.query<{ data: Buffer }>(
        `select data from pg_logical_slot_get_binary_changes(
          $1, null, null, 'proto_version', '1', 'publication_names', 'everything')`,
        [slot],
      );
      return transactions(rows.map((row) => row.data));
    },
  };
}

function transactions(messages: readonly Buffer[]): readonly WalTx[] {
  const relations = new Map<number, string>();
  const found: { xid: number; changes: string[] }[] = [];
  for (const message of messages) {
    const letter = message.toString("latin1", 0, 1);
    const operation = OPERATIONS[letter];
    if (letter === "B") found.push({ xid: message.readUInt32BE(17), changes: [] });
    else if (letter === "R") relations.set(message.readUInt32BE(1), relationName(message));
    else if (operation !== undefined) {
      const table = must(relations.get(message.readUInt32BE(1)), "a row of an unknown relation");
      must(found.at(-1), "a row outside a transaction").changes.push(`${operation} ${table}`);
    }
  }
  return found;
}

/** After the letter and the oid: the schema's name and the table's, each ended by a zero byte. */
function relationName(message: Buffer): string {
  return must(message.toString("utf8", 5).split("\0")[1], "no relation name");
}
