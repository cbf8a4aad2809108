// What docs/security.md says of the credential, tried on a real server: what a role with REPLICATION and without any grant can do,
// what it can not, and how far pg_hba.conf narrows it.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hbaLines } from "../src/commands/setup/providers.ts";
import { grants } from "../src/postgres/grants.ts";
import { createCoderSchema } from "../src/demo/coder/schema.ts";
import { type Server, startServer } from "../src/demo/server.ts";
import { must } from "../src/errors.ts";
import { urlAs } from "./support/database.ts";
import { until } from "./support/firstlight.ts";

const THIEF = "thief";
/** In tables, one in each database, from before anybody looked. */
const OLD = ["old-secret-3f9a", "other-secret-77c1"];

let server: Server;
let admin: pg.Client;

beforeAll(async () => {
  server = await startServer({ settings: { fsync: "off" } });
  admin = await connect(server.url());
  await createCoderSchema(admin);
  await admin.query(`create role ${THIEF} with login replication`);
  await admin.query(`create role victim with login password 'hunter2'`);
  await admin.query("create database other");
  await admin.query("create table hidden (id int primary key, value text)");
  await admin.query("insert into hidden values (1, $1)", [OLD[0]]);
  await using other = await connect(server.url("other"));
  await other.query("create table hidden (id int primary key, value text)");
  await other.query("insert into hidden values (1, $1)", [OLD[1]]);
});

afterAll(async () => {
  await admin?.end();
  await server?.[Symbol.asyncDispose]();
});

type Client = pg.Client & AsyncDisposable;

async function connect(url: string, replication?: "database" | "true"): Promise<Client> {
  // `replication` is missing from the types of `pg`.
  const config: pg.ClientConfig & { replication?: string } = { connectionString: url };
  const client = new pg.Client(replication ? { ...config, replication } : config);
  client.on("error", () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

const asThief = (database = "postgres"): string => urlAs(server.url(database), THIEF);

async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof pg.DatabaseError ? (error.code ?? "") : String(error)),
  );
}

/**
 * Which of these are in what the server sends for one replication command. Ends with the command, or when all are found. Looks into
 * one message at a time, with the end of the last.
 */
async function sent(
  replication: "database" | "true",
  command: string,
  wanted: readonly string[],
): Promise<string[]> {
  const client = await connect(asThief(), replication);
  const { connection } = client;
  const missing = new Set(wanted);
  let end = Buffer.alloc(0);
  // `pg` expects no copy within a command that it did not send.
  for (const event of [
    "rowDescription",
    "dataRow",
    "commandComplete",
    "copyData",
    "errorMessage",
    "readyForQuery",
  ])
    connection.removeAllListeners(event);
  try {
    await new Promise<void>((resolve, reject) => {
      connection.on("copyData", ({ chunk }: { chunk: Buffer }) => {
        const bytes = Buffer.concat([end, chunk]);
        for (const value of missing) if (bytes.includes(value)) missing.delete(value);
        end = Buffer.from(bytes.subarray(-100));
        if (missing.size === 0) resolve();
      });
      connection.on("errorMessage", reject);
      connection.on("readyForQuery", () => resolve());
      connection.query(command);
    });
  } finally {
    connection.stream.destroy();
  }
  return wanted.filter((value) => !missing.has(value));
}

const BASE_BACKUP = "BASE_BACKUP (CHECKPOINT 'fast')";

const found = (bytes: Buffer, values: readonly string[]): string[] =>
  values.filter((value) => bytes.includes(value));

describe("a role with REPLICATION and without any grant", () => {
  test("can not read a table, write, publish, or change a setting", async () => {
    await using client = await connect(asThief());
    for (const statement of [
      "select * from hidden",
      "select auth_token from workspace_agents",
      "insert into hidden values (2, 'x')",
      "create publication mine for table hidden",
      "create publication mine for all tables",
      "create table mine (id int)",
      "alter system set wal_level = 'replica'",
      "alter role thief with superuser",
      "select rolpassword from pg_authid",
    ])
      expect(await refusal(client.query(statement)), statement).toBe("42501");
  });

  test("reads every new change of every table, by a slot of its own, in each database", async () => {
    for (const database of ["postgres", "other"]) {
      await using client = await connect(asThief(database));
      await using writer = await connect(server.url(database));
      const slot = `spy_${database}`;
      await client.query("select pg_create_logical_replication_slot($1, 'test_decoding')", [slot]);
      await writer.query("update hidden set value = 'new-secret' where id = 1");
      const { rows } = await client.query<{ data: string }>(
        "select data from pg_logical_slot_get_changes($1, null, null)",
        [slot],
      );
      expect(rows.map(({ data }) => data).join("\n")).toContain("new-secret");
      await writer.query("update hidden set value = $1 where id = 1", [
        database === "postgres" ? OLD[0] : OLD[1],
      ]);
      await client.query("select pg_drop_replication_slot($1)", [slot]);
    }
  });

  test("reads what a publication publishes, and no more, by pgoutput", async () => {
    await admin.query("create publication narrow for table hidden (id)");
    await using client = await connect(asThief());
    await client.query("select pg_create_logical_replication_slot('spy', 'pgoutput')");
    await admin.query("insert into hidden values (4711, 'unpublished')");
    const { rows } = await client.query<{ data: Buffer }>(
      `select data from pg_logical_slot_get_binary_changes('spy', null, null, 'proto_version', '1', 'publication_names', 'narrow')`,
    );
    const stream = Buffer.concat(rows.map(({ data }) => data));
    expect(found(stream, ["4711", "unpublished"])).toEqual(["4711"]);
    await client.query("select pg_drop_replication_slot('spy')");
  });

  test("advances and drops slots that are not its own, and makes some that hold back WAL", async () => {
    await admin.query("select pg_create_logical_replication_slot('of_another', 'pgoutput')");
    await using client = await connect(asThief());
    await client.query("select pg_replication_slot_advance('of_another', pg_current_wal_lsn())");
    await client.query("select pg_drop_replication_slot('of_another')");
    await client.query("select pg_create_physical_replication_slot('holds_back', true)");
    await client.query("select pg_drop_replication_slot('holds_back')");
  });

  test("copies the whole server, other databases and password hashes too, on a connection to one", async () => {
    await admin.query("checkpoint");
    const secrets = [...OLD, "SCRAM-SHA-256$"];
    expect(await sent("database", BASE_BACKUP, secrets)).toEqual(secrets);
  });

  test("reads the WAL itself", async () => {
    const { rows } = await admin.query<{ lsn: string }>("select pg_current_wal_lsn()::text as lsn");
    await admin.query("insert into hidden values (5, 'raw-secret')");
    const lsn = must(rows[0], "no LSN").lsn;
    const command = `START_REPLICATION PHYSICAL ${lsn}`;
    expect(await sent("database", command, ["raw-secret"])).toEqual(["raw-secret"]);
  });
});

const path = (): string => join(server.dataDir, "pg_hba.conf");

/** As printed, but for the address, and for TLS and passwords, which this server has not. */
const lines = (): string[] =>
  hbaLines({ role: THIEF, database: "postgres" }).map((line) =>
    line.replace("hostssl", "host").replace("10.0.0.0/24 scram-sha-256", "127.0.0.1/32 trust"),
  );

async function reload(text: string): Promise<void> {
  await writeFile(path(), text);
  const { rows } = await admin.query<{ at: string }>("select pg_conf_load_time()::text as at");
  await admin.query("select pg_reload_conf()");
  await until("it is loaded", async () => {
    const now = await admin.query<{ at: string }>("select pg_conf_load_time()::text as at");
    return now.rows[0]?.at !== rows[0]?.at;
  });
  const errors = await admin.query("select * from pg_hba_file_rules where error is not null");
  expect(errors.rows).toEqual([]);
}

describe("pg_hba.conf as setup prints it", () => {
  const files = { before: "" };

  beforeAll(async () => {
    files.before = await readFile(path(), "utf8");
  });
  afterAll(async () => reload(files.before));

  test("the printed lines are lines of pg_hba.conf, odd names too", async () => {
    const odd = hbaLines({ role: 're "porter"', database: "all" });
    // A server without TLS takes no line that demands it.
    const text = [...hbaLines({ role: THIEF, database: "coder" }), ...odd].join("\n");
    await reload(`${text.replaceAll("hostssl", "host")}\n${files.before}`);
    const { rows } = await admin.query(
      "select database, user_name from pg_hba_file_rules where user_name::text like '%porter%' order by rule_number limit 1",
    );
    expect(rows).toEqual([{ database: ["all"], user_name: ['re "porter"'] }]);
  });

  test("one database is let in, for SQL and for logical replication; others and physical replication are not", async () => {
    await reload([...lines(), files.before].join("\n"));
    await using client = await connect(asThief(), "database");
    await client.query("CREATE_REPLICATION_SLOT let_in TEMPORARY LOGICAL pgoutput");
    expect(await refusal(connect(asThief("other")))).toBe("28000");
    expect(await refusal(connect(asThief(), "true"))).toBe("28000");
  });

  test("without its third line physical replication is let in by the next: `all` does not include it", async () => {
    await reload([...lines().slice(0, 2), files.before].join("\n"));
    expect(await refusal(connect(asThief("other")))).toBe("28000");
    await using client = await connect(asThief(), "true");
    await client.query("IDENTIFY_SYSTEM");
  });

  test("it does not keep a base backup from the connection that it lets in", async () => {
    await reload([...lines(), files.before].join("\n"));
    expect(await sent("database", BASE_BACKUP, ["SCRAM-SHA-256$"])).toEqual(["SCRAM-SHA-256$"]);
  });
});

test("a role without REPLICATION and with the printed grants reads the tables, and can do nothing of that", async () => {
  await admin.query("create role reader with login");
  const plan = { publication: "firstlight", role: "reader", wholeTables: false };
  for (const grant of grants(plan.role)) await admin.query(grant);
  await using client = await connect(urlAs(server.url(), "reader"));
  await client.query("select id, job_id from workspace_builds");
  expect(await refusal(client.query("select auth_token from workspace_agents"))).toBe("42501");
  expect(await refusal(connect(urlAs(server.url(), "reader"), "database"))).toBe("42501");
  for (const call of [
    "pg_create_logical_replication_slot('x', 'pgoutput')",
    "pg_create_physical_replication_slot('x')",
    "pg_drop_replication_slot('x')",
  ])
    expect(await refusal(client.query(`select ${call}`)), call).toBe("42501");
});
