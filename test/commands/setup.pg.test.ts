import { readFile } from "node:fs/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { setup, type SetupOptions } from "../../src/commands/setup.ts";
import { setupText } from "../../src/commands/setup/text.ts";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { startServer } from "../../src/demo/server.ts";
import { checkRequirements } from "../../src/postgres/requirements.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";

const signal = new AbortController().signal;

/** Applies as the user of the URL, and gives what was printed. */
async function apply(url: string, options: Partial<SetupOptions> = {}): Promise<string> {
  const printed: string[] = [];
  const clientConfig = parseDatabaseUrl(url);
  const config = {
    databaseConfigured: true,
    database: async () => clientConfig,
    publication: "firstlight",
    slot: "firstlight",
  };
  await setup({ config, apply: true, out: (text) => void printed.push(text), signal, ...options });
  return printed.join("");
}

async function findingsOf(url: string) {
  const clientConfig = parseDatabaseUrl(url);
  await using session = await openSession(clientConfig, { signal });
  return await checkRequirements(session, {
    database: async () => clientConfig,
    slot: "firstlight",
    publication: "firstlight",
  });
}

async function createRole(database: TestDatabase, attributes: string, suffix = "role") {
  const admin = await database.client();
  const name = `${database.name}_${suffix}`;
  await admin.query(`create role ${name} with ${attributes}`);
  return {
    name,
    admin,
    async [Symbol.asyncDispose]() {
      await admin.query(`drop owned by ${name} cascade; drop role ${name}`);
    },
  };
}

async function owning(database: TestDatabase) {
  const owner = await createRole(database, "login", "owner");
  await owner.admin.query(`grant create on database ${database.name} to ${owner.name}`);
  const { rows } = await owner.admin.query<{ name: string }>(
    "select oid::regclass::text as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'",
  );
  for (const { name } of rows)
    await owner.admin.query(`alter table ${name} owner to ${owner.name}`);
  return owner;
}

test("applied by a superuser it leaves nothing to do, and again it changes nothing", async () => {
  await using database = await createDatabase();
  expect(await apply(database.url)).toBe(
    "created publication firstlight\nrole postgres may read all columns already\n",
  );
  expect(await findingsOf(database.url)).toEqual([]);
  expect(await apply(database.url)).toBe(
    "publication firstlight is there already\nrole postgres may read all columns already\n",
  );
});

test("applied by the owner of the tables it grants the follower what it needs", async () => {
  await using database = await createDatabase();
  await using follower = await createRole(database, "login replication");
  await using owner = await owning(database);
  expect(await apply(database.urlAs(owner.name), { role: follower.name })).toBe(
    `created publication firstlight\ngranted role ${follower.name} to read the columns that are needed\n`,
  );
  expect(await findingsOf(database.urlAs(follower.name))).toEqual([]);
});

test("what only an administrator can do is said at the end", async () => {
  await using database = await createDatabase();
  await using owner = await owning(database);
  expect(await apply(database.urlAs(owner.name))).toContain(
    `create role "${owner.name}" with login replication;`,
  );
});

test("without the privileges it stops, with the block for the owner", async () => {
  await using database = await createDatabase();
  await using role = await createRole(database, "login replication");
  await expect(apply(database.urlAs(role.name))).rejects.toMatchObject({
    name: "NeedsOperator",
    reason: "privileges",
    hint: expect.stringContaining('create publication "firstlight"'),
  });
});

test("a right to read without the right to grant is not mistaken for success", async () => {
  await using database = await createDatabase();
  await using follower = await createRole(database, "login replication");
  await using reader = await createRole(database, "login", "reader");
  await apply(database.url);
  await reader.admin.query(`grant select on all tables in schema public to ${reader.name}`);
  await expect(apply(database.urlAs(reader.name), { role: follower.name })).rejects.toMatchObject({
    reason: "privileges",
  });
});

test("a role that is not there is asked for, with the block for the administrator", async () => {
  await using database = await createDatabase();
  await expect(apply(database.url, { role: "nobody_yet" })).rejects.toMatchObject({
    reason: "role_missing",
    hint: expect.stringContaining('create role "nobody_yet" with login replication;'),
  });
});

test("another publication of that name is refused with the difference and the SQL, and left alone", async () => {
  await using database = await createDatabase();
  const admin = await database.client();
  await admin.query("create publication firstlight for table workspace_builds, users");
  await expect(apply(database.url)).rejects.toMatchObject({
    reason: "publication",
    message: expect.stringContaining("lacks table workspace_agents"),
    hint: expect.stringContaining('create publication "firstlight" for table'),
  });
  const { rows } = await admin.query("select tablename from pg_publication_tables order by 1");
  expect(rows).toEqual([{ tablename: "users" }, { tablename: "workspace_builds" }]);
});

test("nothing is created beside a replica identity that would make Coder's UPDATEs fail", async () => {
  await using database = await createDatabase();
  const admin = await database.client();
  await admin.query("alter table workspace_agents replica identity full");
  await expect(apply(database.url)).rejects.toMatchObject({
    reason: "requirements",
    hint: "alter table public.workspace_agents replica identity default;",
  });
  expect((await admin.query("select from pg_publication")).rowCount).toBe(0);
});

test("whole tables are published on request", async () => {
  await using database = await createDatabase();
  await apply(database.url, { wholeTables: true });
  const admin = await database.client();
  expect(
    (await admin.query("select from pg_publication_rel where prattrs is not null")).rowCount,
  ).toBe(0);
  expect(await findingsOf(database.url)).toEqual([]);
});

test("a database without Coder's tables is told so", async () => {
  await using database = await createDatabase({ content: "empty" });
  await expect(apply(database.url)).rejects.toMatchObject({
    name: "NeedsOperator",
    reason: "schema",
  });
});

test("sql/setup.sql prepares a server, and sql/teardown.sql leaves nothing of it", async () => {
  await using server = await startServer({ settings: { wal_level: "replica" } });
  const admin = new pg.Client(server.url());
  await admin.connect();
  try {
    await createCoderSchema(admin);
    await runFile(
      admin,
      setupText({ publication: "firstlight", role: "firstlight", wholeTables: false }),
    );
  } finally {
    await admin.end();
  }
  await server.stop("fast");
  await server.start();
  const follower = server.url().replace("postgres@", "firstlight@");
  expect(await findingsOf(follower)).toEqual([]);

  const again = new pg.Client(server.url());
  await again.connect();
  try {
    await again.query("select pg_create_logical_replication_slot('firstlight', 'pgoutput')");
    await runFile(
      again,
      await readFile(new URL("../../sql/teardown.sql", import.meta.url), "utf8"),
    );
    const { rows } = await again.query(
      `select (select count(*) from pg_publication)::int as publications,
              (select count(*) from pg_replication_slots)::int as slots,
              (select count(*) from pg_roles where rolname = 'firstlight')::int as roles`,
    );
    expect(rows).toEqual([{ publications: 0, slots: 0, roles: 0 }]);
  } finally {
    await again.end();
  }
});

/** One statement at a time, as psql sends them: ALTER SYSTEM can not share a message with others. */
async function runFile(client: pg.Client, text: string): Promise<void> {
  const lines = text.split("\n").filter((line) => !line.startsWith("--"));
  for (const statement of lines.join("\n").split(";")) {
    if (statement.trim() !== "") await client.query(statement);
  }
}
