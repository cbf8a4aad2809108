import { chmod, chown, cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import { NeedsOperator } from "../../src/errors.ts";
import { startServer } from "../../src/demo/server.ts";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { publicationSql, publicationState } from "../../src/postgres/publication.ts";
import { READ_COLUMNS } from "../../src/postgres/grants.ts";
import { checkRequirements, requireAll } from "../../src/postgres/requirements.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { createDatabase } from "../support/database.ts";

const signal = new AbortController().signal;
const PUBLICATION = publicationSql({
  publication: "firstlight",
  version: 180_000,
  wholeTables: false,
  schema: "public",
});

async function findingsOf(url: string) {
  const clientConfig = parseDatabaseUrl(url);
  const config = {
    database: async () => clientConfig,
    slot: "firstlight",
    publication: "firstlight",
  };
  await using session = await openSession(clientConfig, { signal });
  return await checkRequirements(session, config);
}

const problemsOf = async (url: string) => (await findingsOf(url)).map(({ problem }) => problem);

test("a prepared database has no finding, for a superuser and for a role with nothing but its grants", async () => {
  await using database = await createDatabase();
  const admin = await database.client();
  await admin.query(PUBLICATION);
  expect(await findingsOf(database.url)).toEqual([]);
  await using role = await createRole(database, admin, "login replication");
  for (const [table, columns] of Object.entries(READ_COLUMNS)) {
    await admin.query(`grant select (${columns.join(", ")}) on ${table} to ${role.name}`);
  }
  expect(await findingsOf(database.urlAs(role.name))).toEqual([]);
});

test("an empty database lacks all ten tables and the publication", async () => {
  await using database = await createDatabase({ content: "empty" });
  const problems = await problemsOf(database.url);
  expect(problems).toEqual([
    ...Object.keys(READ_COLUMNS).map((table) => `there is no table ${table}`),
    "there is no publication firstlight",
  ]);
  expect(problems).toHaveLength(11);
});

test("columns that are missing are named", async () => {
  await using database = await createDatabase();
  const admin = await database.client();
  await admin.query(
    "alter table workspace_agents drop column parent_id, drop column deleted, drop column connection_timeout_seconds",
  );
  await admin.query(
    "create publication firstlight for table workspace_builds, provisioner_jobs, workspace_agents",
  );
  expect(await problemsOf(database.url)).toEqual([
    "table workspace_agents lacks parent_id, deleted, connection_timeout_seconds",
  ]);
});

test("a role that may neither replicate nor read is told both, and the fixes heal it", async () => {
  await using database = await createDatabase();
  const admin = await database.client();
  await admin.query(PUBLICATION);
  await using role = await createRole(database, admin, "login");
  const findings = await findingsOf(database.urlAs(role.name));
  expect(findings.map(({ check }) => check)).toEqual([
    "role",
    ...Object.keys(READ_COLUMNS).map(() => "tables"),
  ]);
  expect(findings[0]?.problem).toBe(`role ${role.name} may not replicate`);
  expect(findings.at(-1)?.problem).toBe("users: no right to read id, username");
  for (const { fix } of findings) await admin.query(fix);
  expect(await findingsOf(database.urlAs(role.name))).toEqual([]);
});

test("a role of before agents' timeouts were read is told which right it lacks, and the fix heals it", async () => {
  await using database = await createDatabase();
  const admin = await database.client();
  await admin.query(PUBLICATION);
  await using role = await createRole(database, admin, "login replication");
  for (const [table, columns] of Object.entries(READ_COLUMNS)) {
    const before = columns.filter((column) => column !== "connection_timeout_seconds");
    await admin.query(`grant select (${before.join(", ")}) on ${table} to ${role.name}`);
  }
  const findings = await findingsOf(database.urlAs(role.name));
  expect(findings.map(({ problem }) => problem)).toEqual([
    "workspace_agents: no right to read connection_timeout_seconds",
  ]);
  for (const { fix } of findings) await admin.query(fix);
  expect(await findingsOf(database.urlAs(role.name))).toEqual([]);
});

test("a missing usage right on the schema is a finding", async () => {
  await using database = await createDatabase();
  const admin = await database.client();
  await admin.query(PUBLICATION);
  await using role = await createRole(database, admin, "login replication");
  await admin.query(`grant select on all tables in schema public to ${role.name}`);
  await admin.query("revoke usage on schema public from public");
  expect(await problemsOf(database.urlAs(role.name))).toHaveLength(10);
});

test("a server that is not set up for logical decoding is told all of it", async () => {
  await using server = await startServer({
    settings: { wal_level: "replica", max_replication_slots: "1", max_wal_senders: "1" },
  });
  const admin = new pg.Client(server.url());
  await admin.connect();
  await createCoderSchema(admin);
  await admin.end();
  const findings = await findingsOf(server.url());
  expect(findings.map(({ check, problem }) => [check, problem])).toEqual([
    ["wal_level", "wal_level is replica"],
    ["slots", "0 of 1 replication slots are used, and 2 must be free"],
    ["walsenders", "0 of 1 walsenders are used, and 2 must be free"],
    ["publication", "there is no publication firstlight"],
  ]);
  expect(findings[0]?.fix).toBe("alter system set wal_level = 'logical'; -- then restart");
});

test("who has a slot already is not refused because others took the rest", async () => {
  await using server = await startServer({ settings: { max_replication_slots: "2" } });
  const admin = new pg.Client(server.url());
  await admin.connect();
  const slots = async () =>
    (await findingsOf(server.url())).filter(({ check }) => check === "slots");
  try {
    await admin.query("select pg_create_physical_replication_slot('other')");
    expect(await slots()).toMatchObject([
      { problem: "1 of 2 replication slots are used, and 2 must be free" },
    ]);
    await admin.query("select pg_create_logical_replication_slot('firstlight', 'pgoutput')");
    expect(await slots()).toEqual([]);
  } finally {
    await admin.end();
  }
});

test("a standby shows the publication as the primary does, and must send feedback", async () => {
  await using folder = await temporaryFolder();
  await using primary = await startServer({ dataDir: join(folder.path, "primary") });
  const admin = new pg.Client(primary.url());
  await admin.connect();
  await createCoderSchema(admin);
  await admin.query(PUBLICATION);
  await admin.end();
  await using onPrimary = await openSession(parseDatabaseUrl(primary.url()), { signal });
  const { fingerprint } = await publicationState(onPrimary, "firstlight");
  await primary.stop("fast");
  const copy = join(folder.path, "standby");
  await mkdir(copy);
  await cp(primary.dataDir, join(copy, "pgdata"), { recursive: true });
  await takeOver(primary.dataDir, copy);
  await primary.start();
  const settings = {
    primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres`,
    hot_standby_feedback: "off",
  };
  await using standby = await startServer({ dataDir: copy, settings });
  expect(await problemsOf(standby.url())).toEqual([
    "hot_standby_feedback is off: a vacuum on the primary would invalidate the slot",
  ]);
  const operator = new pg.Client(standby.url());
  await operator.connect();
  await operator.query("alter system set hot_standby_feedback = on");
  await operator.query("select pg_reload_conf()");
  await operator.end();
  await expect.poll(() => problemsOf(standby.url())).toEqual([]);
  await using onStandby = await openSession(parseDatabaseUrl(standby.url()), { signal });
  expect((await publicationState(onStandby, "firstlight")).fingerprint).toBe(fingerprint);
});

test("all findings make one error, with every problem and every fix", () => {
  const findings = [
    { check: "a", problem: "first problem", fix: "first fix" },
    { check: "b", problem: "second problem", fix: "second fix" },
    { check: "b", problem: "third problem", fix: "second fix" },
  ];
  expect(() => requireAll([])).not.toThrow();
  try {
    requireAll(findings);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(NeedsOperator);
    expect(error).toMatchObject({
      reason: "requirements",
      message: "the database can not be followed yet: first problem; second problem; third problem",
      hint: "first fix\nsecond fix",
    });
  }
});

/** Makes a cold copy a standby, owned like the original. */
async function takeOver(original: string, copy: string): Promise<void> {
  await writeFile(join(copy, "pgdata", "standby.signal"), "");
  const { uid, gid } = await stat(original);
  for (const entry of await readdir(copy, { recursive: true }))
    await chown(join(copy, entry), uid, gid);
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), "firstlight-standby-"));
  await chmod(path, 0o755);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function createRole(
  database: { readonly name: string },
  admin: pg.Client,
  attributes: string,
) {
  const name = `${database.name}_role`;
  await admin.query(`create role ${name} with ${attributes}`);
  return {
    name,
    async [Symbol.asyncDispose]() {
      await admin.query(`drop owned by ${name}; drop role ${name}`);
    },
  };
}
