// What can not be read is said with what to do about it, and leaves nothing behind: no slot, no file.

import { afterEach, beforeEach, expect, test } from "vitest";
import type pg from "pg";
import { ledgerFromSlot } from "../../src/pipeline/ledger-from-slot.ts";
import { ledgerFromTables } from "../../src/pipeline/ledger-from-tables.ts";
import { READ_COLUMNS, grantSql } from "../../src/postgres/grants.ts";
import { ownServer } from "../crash/support/own-server.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { publish, uniqueSlot, until } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import { readingOf } from "./support/reading.ts";
import {
  type Files,
  copiesOf,
  factsFromSlot,
  factsFromTables,
  ownTemporaryFolder,
  park,
  refusal,
  told,
} from "./support/scene.ts";

let files: Files;
let database: TestDatabase;
let client: pg.Client;
beforeEach(async () => {
  files = await ownTemporaryFolder();
  database = await createDatabase();
  client = await database.client();
});
afterEach(async () => {
  const left = await files.left();
  await files[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  expect(left).toEqual([]);
});

/** Tries to read this slot. */
const slotRefused = async (slot: string, publication = "firstlight", url = database.url) =>
  refusal(ledgerFromSlot({ ...readingOf(url, { publication }), slot }));

test("a slot that is not there: with the names of those that are", async () => {
  await publish(client);
  expect(await slotRefused("nowhere")).toMatchObject({
    reason: "slot_missing",
    message: "there is no slot nowhere on this server",
  });
  const parked = await park(client);
  expect((await slotRefused("nowhere")).hint).toContain(parked);
});

test.each([
  ["physical", "select pg_create_physical_replication_slot($1)"],
  ["of another plugin", "select pg_create_logical_replication_slot($1, 'test_decoding')"],
])("a slot that is %s", async (_, sql) => {
  await publish(client);
  const name = uniqueSlot();
  await client.query(sql, [name]);
  const { reason, hint } = await slotRefused(name);
  await client.query("select pg_drop_replication_slot($1)", [name]);
  expect(reason).toBe("slot_foreign");
  expect(hint).toContain("--from tables");
});

test("a slot of another database", async () => {
  await publish(client);
  await using other = await createDatabase();
  const name = await park(await other.client());
  const { reason, message } = await slotRefused(name);
  expect(reason).toBe("slot_foreign");
  expect(message).toContain(other.name);
});

test("no publication, and one that was made after the slot", async () => {
  const parked = await park(client);
  const made = await HandMade.on(client);
  await made.build();
  const missing = await slotRefused(parked);
  expect(missing.reason).toBe("requirements");
  expect(missing.message).toBe(
    "the database can not be replayed yet: there is no publication firstlight",
  );
  await publish(client);
  await made.build();
  const late = await slotRefused(parked);
  expect(late.reason).toBe("publication_late");
  expect(late.message).toContain(`was made after the position of slot ${parked}`);
  expect(late.hint).toContain("--from tables");
  expect(await copiesOf(client, parked)).toBe(0);
});

test("a role that may not replicate reads tables, one that may read nothing reads none", async () => {
  await publish(client);
  const parked = await park(client);
  const made = await HandMade.on(client);
  await made.build({ job: JOBS.succeeded });
  const role = `${database.name}_reader`;
  await client.query(`create role ${role} login`);
  try {
    const url = database.urlAs(role);
    const { reason, hint } = await refusal(ledgerFromTables(readingOf(url)));
    expect(reason).toBe("requirements");
    expect(hint).toContain("grant select (id, created_at, workspace_id");
    for (const [table, columns] of Object.entries(READ_COLUMNS))
      await client.query(grantSql(table, columns, role));
    expect((await factsFromTables(url)).size).toBeGreaterThan(2);
    const replaying = await slotRefused(parked, "firstlight", url);
    expect(replaying.message).toContain(`role ${role} may not replicate`);
    await client.query(`alter role ${role} with replication`);
    expect(told(await factsFromSlot(url, parked))).toEqual(told(await factsFromTables(url)));
  } finally {
    await client.query(`drop owned by ${role}; drop role ${role}`);
  }
});

test("a slot that is lost, a server without a free slot, and a disk or folder that can not be written", async () => {
  await using server = await ownServer();
  const admin = await server.client();
  const parked = await park(admin);
  const made = await HandMade.on(admin);
  await made.build();
  await admin.query(
    "select pg_create_physical_replication_slot('other_' || n) from generate_series(1, (select setting::int - 1 from pg_settings where name = 'max_replication_slots')) as n",
  );
  const full = await slotRefused(parked, "firstlight", server.url);
  expect(full.reason).toBe("no_free_slot");
  expect(full.hint).toContain("max_replication_slots");
  await admin.query("select pg_drop_replication_slot('other_1')");

  const { TMPDIR: folder = "" } = process.env;
  process.env["TMPDIR"] = "/proc/nowhere";
  const unwritable = await refusal(ledgerFromTables(readingOf(server.url)));
  process.env["TMPDIR"] = folder;
  expect(unwritable.reason).toBe("store_not_writable");
  expect(unwritable.hint).toContain("TMPDIR");

  await admin.query("alter system set max_slot_wal_keep_size = '1MB'");
  await admin.query("select pg_reload_conf()");
  await until("the slot is lost", async () => {
    await admin.query("select pg_logical_emit_message(false, 'filler', repeat('x', 1000000))");
    await admin.query("select pg_switch_wal()");
    await admin.query("checkpoint");
    const { rows } = await admin.query<{ status: string }>(
      "select wal_status as status from pg_replication_slots where slot_name = $1",
      [parked],
    );
    return rows[0]?.status === "lost";
  });
  const lost = await slotRefused(parked, "firstlight", server.url);
  expect(lost.reason).toBe("slot_lost");
  expect(lost.message).toContain(`the slot ${parked} is lost (wal_removed)`);
  expect(lost.hint).toContain(`select pg_drop_replication_slot('${parked}')`);
  expect(await copiesOf(admin, parked)).toBe(0);
});
