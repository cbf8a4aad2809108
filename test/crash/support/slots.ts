// What the server says of a slot, as the tests need it.

import type pg from "pg";
import { must } from "../../../src/errors.ts";
import { type Lsn, parseLsn } from "../../../src/lsn.ts";
import { record } from "./recording.ts";

/** How far the slot was acknowledged. Throws when there is no such slot. */
export async function confirmedFlush(client: pg.ClientBase, slot: string): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: string }>(
    "select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = $1",
    [slot],
  );
  return parseLsn(must(rows[0], `no slot ${slot}`).lsn);
}

/** Creates a slot for pgoutput; returns where its stream begins. */
export async function createSlot(client: pg.ClientBase, slot: string): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: string }>(
    "select lsn::text from pg_create_logical_replication_slot($1, 'pgoutput')",
    [slot],
  );
  return parseLsn(must(rows[0], "no slot").lsn);
}

/** How many rows the slot still has to tell: what was acknowledged is never told again. */
export async function rowsToTell(client: pg.ClientBase, slot: string): Promise<number> {
  const messages = await record(client, slot);
  return messages.filter(([tag]) => ROW_TAGS.has(tag)).length;
}

/** Insert, update, delete. */
const ROW_TAGS: ReadonlySet<number | undefined> = new Set(Buffer.from("IUD"));

/** Ends the server's side of every session of ours in this database, as a DBA would: whoever reads a slot, however. */
export async function disconnect(client: pg.ClientBase): Promise<void> {
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'firstlight' and datname = current_database()`,
  );
}
