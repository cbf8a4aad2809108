// What `serve` can not begin with: it ends with 3 and says what is wrong and what to do, and leaves nothing behind.

import { appendFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { type Server, freePort, startServer } from "../../src/demo/server.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { spawnServe } from "../crash/support/victim.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { publish, uniqueSlot } from "../support/firstlight.ts";
import { readLedger } from "../support/ledger.ts";

/** Runs `serve` to its end. Its ledger must be empty. */
async function refused(url: string): Promise<{ code: unknown; said: string }> {
  await using folder = await temporaryFolder();
  const statePath = folder.path("firstlight.db");
  await using process = spawnServe({ url, slot: uniqueSlot(), statePath });
  const code = await process.ended;
  expect(readLedger(statePath).facts).toEqual([]);
  const said = process.log.filter((line) => !line.startsWith("{")).join("\n");
  return { code, said };
}

async function expectNoSlot(client: pg.Client): Promise<void> {
  const { rows } = await client.query(
    "select slot_name from pg_replication_slots where database = current_database()",
  );
  expect(rows).toEqual([]);
}

test("a database that can not be reached", async () => {
  const { code, said } = await refused(`postgres://x@127.0.0.1:${await freePort()}/coder`);
  expect(code).toBe(3);
  expect(said).toContain("firstlight: can not begin: connect ECONNREFUSED");
  expect(said).toContain("What to do: check that the database URL (FIRSTLIGHT_DATABASE_URL)");
});

test("a database that is not there", async () => {
  await using database = await createDatabase();
  const { code, said } = await refused(`${database.url}_not`);
  expect(code).toBe(3);
  expect(said).toContain("What to do: check the database name at the end of the database URL");
});

describe("on a database that lacks something", () => {
  let database: TestDatabase;
  let client: pg.Client;
  beforeAll(async () => {
    database = await createDatabase();
    client = await database.client();
  });
  afterAll(async () => database[Symbol.asyncDispose]());

  const again = 'drop publication "firstlight"; then create it as `firstlight setup` prints it';

  test.each([
    [
      "no publication",
      "select 1",
      "there is no publication firstlight",
      "run `firstlight setup` and have the owner of Coder's tables run its SQL on the primary",
    ],
    [
      "a publication without one of the tables",
      "create publication firstlight for table workspace_builds, provisioner_jobs",
      "publication firstlight lacks table workspace_agents",
      again,
    ],
    [
      "a publication without one of the columns",
      `create publication firstlight for table workspace_builds, provisioner_jobs,
         workspace_agents (id, created_at, name, resource_id)`,
      "publication firstlight lacks columns of workspace_agents: first_connected_at",
      again,
    ],
    [
      "a publication of everything",
      "create publication firstlight for all tables",
      "publication firstlight publishes all tables",
      again,
    ],
    [
      "a publication that leaves updates out",
      `create publication firstlight for table workspace_builds, provisioner_jobs, workspace_agents
         with (publish = 'insert')`,
      "publication firstlight does not publish update and delete",
      "alter publication \"firstlight\" set (publish = 'insert, update, delete, truncate');",
    ],
  ])("%s", async (_what, sql, problem, fix) => {
    await client.query("drop publication if exists firstlight");
    await client.query(sql);
    const { code, said } = await refused(database.url);
    expect(code).toBe(3);
    expect(said).toContain("firstlight: the database can not be followed yet: ");
    expect(said).toContain(problem);
    expect(said).toContain(fix);
    await expectNoSlot(client);
  });

  test("a role without REPLICATION and without rights: both are said at once, with their SQL", async () => {
    await client.query("drop publication if exists firstlight");
    await publish(client);
    const role = `${database.name}_role`;
    await client.query(`create role ${role} login`);
    try {
      const { code, said } = await refused(database.urlAs(role));
      expect(code).toBe(3);
      expect(said).toContain(`role ${role} may not replicate`);
      expect(said).toContain(`alter role "${role}" with replication;`);
      expect(said).toContain("workspaces: no right to read id, owner_id");
      expect(said).toContain(`on "public".workspaces to "${role}";`);
      await expectNoSlot(client);
    } finally {
      await client.query(`drop role ${role}`);
    }
  });

  test("a column, and a whole table", async () => {
    await client.query("drop publication if exists firstlight");
    await publish(client);
    await client.query("alter table templates drop column active_version_id cascade");
    await client.query("drop table template_version_presets cascade");
    const { code, said } = await refused(database.url);
    expect(code).toBe(3);
    expect(said).toContain("table templates lacks active_version_id");
    expect(said).toContain("there is no table template_version_presets");
    expect(said).toContain("What to do: check that the URL names Coder's own database");
    await expectNoSlot(client);
  });
});

describe("on a server of its own", () => {
  let server: Server;
  let client: pg.Client;
  beforeAll(async () => {
    server = await startServer({ settings: { wal_level: "replica" } });
    client = new pg.Client(server.url());
    await client.connect();
    await createCoderSchema(client);
    await publish(client);
    await client.query("create role somebody with login replication password 'right'");
    const rules = [
      "host all postgres 127.0.0.1/32 trust",
      "host all,replication all 127.0.0.1/32 scram-sha-256",
    ];
    await writeFile(join(server.dataDir, "pg_hba.conf"), `${rules.join("\n")}\n`);
    await client.query("select pg_reload_conf()");
  });
  afterAll(async () => {
    await client.end();
    await server[Symbol.asyncDispose]();
  });

  test("wal_level is not logical", async () => {
    const { code, said } = await refused(server.url());
    expect(code).toBe(3);
    expect(said).toContain("wal_level is replica");
    expect(said).toContain("alter system set wal_level = 'logical'; -- then restart");
  });

  test("a wrong password, which nobody repeats", async () => {
    const url = server.url().replace("postgres@", "somebody:wr0ng-c4nary@");
    const { code, said } = await refused(url);
    expect(code).toBe(3);
    expect(said).toContain("What to do: check the user name and the password in the database URL");
    expect(said).not.toContain("wr0ng-c4nary");
  });
});

async function refusedStore(statePath: string): Promise<{ code: unknown; said: string }> {
  await using database = await createDatabase();
  await publish(await database.client());
  await using process = spawnServe({ url: database.url, slot: uniqueSlot(), statePath });
  const code = await process.ended;
  await expectNoSlot(await database.client());
  return { code, said: process.log.join("\n") };
}

describe("a store that can not be written", () => {
  test("its folder is a file", async () => {
    await using folder = await temporaryFolder();
    await appendFile(folder.path("file"), "not a folder");
    const { code, said } = await refusedStore(folder.path("file/firstlight.db"));
    expect(code).toBe(3);
    expect(said).toMatch(/^firstlight: the store \S+ can not be written: /);
    expect(said).toContain("set --state (FIRSTLIGHT_STATE) to a writable path");
    expect(said).not.toContain("listening");
  });

  test("it is a folder", async () => {
    await using folder = await temporaryFolder();
    await mkdir(folder.path("firstlight.db"));
    const { code, said } = await refusedStore(folder.path("firstlight.db"));
    expect(code).toBe(3);
    expect(said).toContain("can not be written");
  });

  test.skipIf(process.platform !== "linux")("its file system takes no files", async () => {
    const { code, said } = await refusedStore("/proc/firstlight.db");
    expect(code).toBe(3);
    expect(said).toContain("the store /proc/firstlight.db can not be written");
  });

  test("it is something else", async () => {
    await using folder = await temporaryFolder();
    await writeFile(folder.path("firstlight.db"), "This is not a database. ".repeat(1_000));
    const { code, said } = await refusedStore(folder.path("firstlight.db"));
    expect(code).toBe(3);
    expect(said).toMatch(/the store \S+ is damaged/);
    expect(said).toContain("restore a copy of it");
  });
});
