import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { must } from "../../src/errors.ts";
import { type Server, freePort, startServer } from "../../src/demo/server.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { createDatabase } from "../support/database.ts";

const signal = new AbortController().signal;

test("the session's settings win over those that a DBA gave the role", async () => {
  await using database = await createDatabase({ content: "empty" });
  await using role = await createRole(database, "login replication");
  for (const setting of [
    "datestyle = 'German'",
    "timezone = 'Asia/Tokyo'",
    "intervalstyle = 'iso_8601'",
    "extra_float_digits = 0",
    "statement_timeout = '3s'",
    "lock_timeout = '3s'",
    "idle_in_transaction_session_timeout = '3s'",
    "idle_session_timeout = '3s'",
    "transaction_timeout = '3s'",
    "wal_sender_timeout = 0",
    "logical_decoding_work_mem = '1MB'",
  ]) {
    await role.admin.query(`alter role ${role.name} set ${setting}`);
  }
  for (const replication of [undefined, "database"]) {
    const config = {
      ...parseDatabaseUrl(database.urlAs(role.name)),
      ...(replication && { replication }),
    };
    await using session = await openSession(config, { signal });
    const rows = await session.query<{ name: string; setting: string }>(
      `select name, setting from pg_settings where source <> 'default' and source = 'session' order by name`,
    );
    expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
      DateStyle: "ISO, MDY",
      IntervalStyle: "postgres",
      TimeZone: "UTC",
      extra_float_digits: "3",
      idle_in_transaction_session_timeout: "0",
      idle_session_timeout: "0",
      lock_timeout: "0",
      logical_decoding_work_mem: "65536",
      statement_timeout: "0",
      tcp_keepalives_count: "3",
      tcp_keepalives_idle: "10",
      tcp_keepalives_interval: "10",
      transaction_timeout: "0",
      wal_sender_timeout: "60000",
    });
    const [time] = await session.query<{ text: string }>(
      "select '2026-08-21 10:00:00.5+02'::timestamptz::text as text",
    );
    expect(time?.text).toBe("2026-08-21 08:00:00.5+00");
  }
});

test("a terminated backend makes the session lost and its queries transient errors", async () => {
  await using database = await createDatabase({ content: "empty" });
  const admin = await database.client();
  await using session = await openSession(parseDatabaseUrl(database.url), { signal });
  const lost = once(session.lost, "abort");
  const running = session.query("select pg_sleep(60)").catch((error: unknown) => error);
  await admin.query("select pg_terminate_backend($1)", [session.pid]);
  await lost;
  // The running query gets the server's words, the session only sees the end of the connection.
  expect(session.lost.reason).toMatchObject({ name: "Transient", reason: "connection_lost" });
  expect(await running).toMatchObject({ name: "Transient", reason: "server_stopping" });
  await expect(session.query("select 1")).rejects.toMatchObject({ reason: "connection_lost" });
});

test("an abort ends a running query at once, and gives the abort's reason", async () => {
  await using database = await createDatabase({ content: "empty" });
  const stop = new AbortController();
  await using session = await openSession(parseDatabaseUrl(database.url), { signal: stop.signal });
  const running = session.query("select pg_sleep(60)").catch((error: unknown) => error);
  const reason = new DOMException("stopped", "AbortError");
  stop.abort(reason);
  expect(await running).toBe(reason);
  expect(session.lost.reason).toBe(reason);
});

test("a session that was disposed is lost, and the server knows it", async () => {
  await using database = await createDatabase({ content: "empty" });
  const admin = await database.client();
  const session = await openSession(parseDatabaseUrl(database.url), { signal });
  await session[Symbol.asyncDispose]();
  expect(session.lost.aborted).toBe(true);
  await expect
    .poll(
      async () =>
        (await admin.query("select from pg_stat_activity where pid = $1", [session.pid])).rowCount,
    )
    .toBe(0);
});

test("a mistake in SQL is a bug, not a reason to retry", async () => {
  await using database = await createDatabase({ content: "empty" });
  await using session = await openSession(parseDatabaseUrl(database.url), { signal });
  const error = await session.query("selekt 1").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(pg.DatabaseError);
  expect(await session.query("select 1 as one")).toEqual([{ one: 1 }]);
});

test("a server that accepts and says nothing is unreachable", async () => {
  const silent = createServer();
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const address = must(silent.address(), "no address");
  const port = typeof address === "string" ? 0 : address.port;
  try {
    await expect(
      openSession({ host: "127.0.0.1", port, user: "x", connectionTimeoutMillis: 100 }, { signal }),
    ).rejects.toMatchObject({ name: "Transient", reason: "unreachable" });
  } finally {
    silent.close();
  }
});

test("a closed port is unreachable", async () => {
  const config = parseDatabaseUrl(`postgres://x@127.0.0.1:${await freePort()}/x`);
  await expect(openSession(config, { signal })).rejects.toMatchObject({
    name: "Transient",
    reason: "unreachable",
  });
});

test("an abort ends connecting at once", async () => {
  const silent = createServer();
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const address = must(silent.address(), "no address");
  const port = typeof address === "string" ? 0 : address.port;
  const stop = new AbortController();
  const reason = new DOMException("stopped", "AbortError");
  silent.once("connection", () => stop.abort(reason));
  try {
    const opening = openSession({ host: "127.0.0.1", port, user: "x" }, { signal: stop.signal });
    await expect(opening).rejects.toBe(reason);
  } finally {
    silent.close();
  }
});

test("a database that is not there needs an operator", async () => {
  await using database = await createDatabase({ content: "empty" });
  const url = new URL(database.url);
  url.pathname = "/nowhere";
  await expect(openSession(parseDatabaseUrl(url.href), { signal })).rejects.toMatchObject({
    name: "NeedsOperator",
    reason: "no_such_database",
  });
});

test("TLS asked of a server without it needs an operator", async () => {
  await using database = await createDatabase({ content: "empty" });
  await expect(
    openSession(parseDatabaseUrl(`${database.url}?sslmode=require`), { signal }),
  ).rejects.toMatchObject({
    name: "NeedsOperator",
    reason: "tls",
  });
});

test("a role without REPLICATION may not open a replication connection", async () => {
  await using database = await createDatabase({ content: "empty" });
  await using role = await createRole(database, "login");
  const config = { ...parseDatabaseUrl(database.urlAs(role.name)), replication: "database" };
  await expect(openSession(config, { signal })).rejects.toMatchObject({
    name: "NeedsOperator",
    reason: "privileges",
  });
});

/** Roles belong to the server, so each test has its own and drops it before its database. */
async function createRole(
  database: Awaited<ReturnType<typeof createDatabase>>,
  attributes: string,
) {
  const admin = await database.client();
  const name = `${database.name}_role`;
  await admin.query(`create role ${name} with ${attributes}`);
  return {
    name,
    admin,
    async [Symbol.asyncDispose]() {
      await admin.query(`drop role ${name}`);
    },
  };
}

let guarded: Server;

beforeAll(async () => {
  guarded = await startServer();
  const admin = new pg.Client(guarded.url());
  await admin.connect();
  await admin.query("create role somebody with login password 'right'");
  const rules = [
    "host all postgres 127.0.0.1/32 trust",
    "host all outsider 127.0.0.1/32 reject",
    "host all all 127.0.0.1/32 scram-sha-256",
  ];
  await writeFile(join(guarded.dataDir, "pg_hba.conf"), `${rules.join("\n")}\n`);
  await admin.query("create role outsider with login");
  await admin.end();
  await guarded.stop("fast");
  await guarded.start();
});
afterAll(() => guarded[Symbol.asyncDispose]());

test.each([
  ["somebody:wrong", "authentication"],
  ["somebody", "authentication"],
  ["outsider", "not_admitted"],
])("%s is turned away: %s", async (user, reason) => {
  const config = parseDatabaseUrl(guarded.url().replace("postgres@", `${user}@`));
  await expect(openSession(config, { signal })).rejects.toMatchObject({
    name: "NeedsOperator",
    reason,
  });
});

test("the right password is let in", async () => {
  const config = parseDatabaseUrl(guarded.url().replace("postgres@", "somebody:right@"));
  await using session = await openSession(config, { signal });
  expect(await session.query("select current_user::text as name")).toEqual([{ name: "somebody" }]);
});

test("a server that stops makes the session lost, and is unreachable until it is back", async () => {
  await using session = await openSession(parseDatabaseUrl(guarded.url()), { signal });
  const lost = once(session.lost, "abort");
  await guarded.stop("fast");
  await lost;
  expect(session.lost.reason).toMatchObject({ reason: "server_stopping" });
  await expect(openSession(parseDatabaseUrl(guarded.url()), { signal })).rejects.toMatchObject({
    reason: "unreachable",
  });
  await guarded.start();
  await using again = await openSession(parseDatabaseUrl(guarded.url()), { signal });
  expect(again.lost.aborted).toBe(false);
});

test("a query that is not answered in time is given up, and can be tried again", async () => {
  await using database = await createDatabase();
  const config = parseDatabaseUrl(database.url);
  await using session = await openSession(config, { signal, answerWithinMs: 300 });
  await expect(session.query("select pg_sleep(30)")).rejects.toMatchObject({
    name: "Transient",
    reason: "no_answer",
  });
});
