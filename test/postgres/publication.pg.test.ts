import { expect, test } from "vitest";
import {
  PUBLISHED_COLUMNS,
  publicationSql,
  publicationState,
} from "../../src/postgres/publication.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { createDatabase } from "../support/database.ts";

const signal = new AbortController().signal;
const GOOD = publicationSql({
  publication: "firstlight",
  version: 180_000,
  wholeTables: false,
  schema: "public",
});
const WHOLE = publicationSql({
  publication: "firstlight",
  version: 140_000,
  wholeTables: false,
  schema: "public",
});

async function open() {
  const database = await createDatabase();
  const session = await openSession(parseDatabaseUrl(database.url), { signal });
  return {
    session,
    state: () => publicationState(session, "firstlight"),
    problems: async () =>
      (await publicationState(session, "firstlight")).findings.map(({ problem }) => problem),
    async [Symbol.asyncDispose]() {
      await session[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

test("the statement publishes exactly our columns, and finds nothing wrong with itself", async () => {
  await using context = await open();
  await context.session.query(GOOD);
  const rows = await context.session.query<{ tablename: string; columns: string[] }>(
    "select tablename, to_json(attnames) as columns from pg_publication_tables where pubname = 'firstlight'",
  );
  const published = Object.fromEntries(
    rows.map(({ tablename, columns }) => [tablename, columns.sort()]),
  );
  const wanted = Object.entries(PUBLISHED_COLUMNS).map(([table, columns]) => [
    table,
    [...columns].sort(),
  ]);
  expect(published).toEqual(Object.fromEntries(wanted));
  expect((await context.state()).findings).toEqual([]);
});

test("Coder's updates and deletes work beside it", async () => {
  await using context = await open();
  await context.session.query(GOOD);
  for (const table of Object.keys(PUBLISHED_COLUMNS)) {
    await context.session.query(`update ${table} set created_at = created_at`);
    await context.session.query(`delete from ${table}`);
  }
});

test("whole tables are right too, and all there is before Postgres 15", async () => {
  await using context = await open();
  expect(WHOLE).not.toContain("created_at");
  await context.session.query(WHOLE);
  expect((await context.state()).findings).toEqual([]);
});

test("no publication is a finding without a fingerprint", async () => {
  await using context = await open();
  expect(await context.state()).toMatchObject({
    fingerprint: undefined,
    findings: [{ check: "publication" }],
  });
});

test("the fingerprint stays when nothing changes, and changes when it is made again or altered", async () => {
  await using context = await open();
  await context.session.query(GOOD);
  const seen = [(await context.state()).fingerprint];
  expect((await context.state()).fingerprint).toBe(seen[0]);
  for (const change of [
    "alter publication firstlight set (publish = 'insert, update, delete')",
    "alter publication firstlight drop table workspace_agents; alter publication firstlight add table workspace_agents",
    `drop publication firstlight; ${GOOD}`,
  ]) {
    await context.session.query(change);
    const { fingerprint } = await context.state();
    expect(fingerprint).toMatch(/^\d+\/\d+ /);
    expect(seen).not.toContain(fingerprint);
    seen.push(fingerprint);
  }
});

test.each([
  ["for all tables", ["publishes all tables, of the database or of a schema"]],
  ["for tables in schema public", ["publishes all tables, of the database or of a schema"]],
  ["for table workspace_builds, provisioner_jobs", ["lacks table workspace_agents"]],
  [
    "for table workspace_builds (id, workspace_id), provisioner_jobs, workspace_agents",
    [
      "lacks columns of workspace_builds: created_at, template_version_id, build_number, transition, initiator_id, job_id, reason, template_version_preset_id",
    ],
  ],
  [
    "for table workspace_builds, provisioner_jobs, workspace_agents, users",
    ["has table users, which is not ours"],
  ],
  [
    "for table workspace_builds, provisioner_jobs, workspace_agents where (not deleted)",
    ["has a row filter on workspace_agents, which can make Coder's UPDATEs fail"],
  ],
  [
    "for table workspace_builds, provisioner_jobs, workspace_agents with (publish = 'insert')",
    ["does not publish update and delete"],
  ],
])("a publication %s is found out", async (definition, problems) => {
  await using context = await open();
  await context.session.query(`create publication firstlight ${definition}`);
  expect(await context.problems()).toEqual(
    problems.map((problem) => `publication firstlight ${problem}`),
  );
});

test("tables of our names in another schema are not ours", async () => {
  await using context = await open();
  await context.session.query(
    "create schema other; create table other.workspace_builds (id int primary key)",
  );
  await context.session.query(
    "create publication firstlight for table other.workspace_builds, provisioner_jobs, workspace_agents",
  );
  expect(await context.problems()).toEqual([
    "publication firstlight lacks table workspace_builds",
    "publication firstlight has table other.workspace_builds, which is not ours",
  ]);
});

test.each(["full", "nothing"])(
  "replica identity %s is found out, also before there is a publication",
  async (identity) => {
    await using context = await open();
    await context.session.query(`alter table provisioner_jobs replica identity ${identity}`);
    const { findings } = await context.state();
    expect(findings.map(({ check }) => check)).toEqual(["publication", "replica_identity"]);
    await context.session.query(findings[1]?.fix ?? "");
    expect((await context.state()).findings).toHaveLength(1);
  },
);

test("a table that was swapped for another of its name changes the fingerprint", async () => {
  await using here = await open();
  await here.session.query(GOOD);
  const before = (await here.state()).fingerprint;
  expect((await here.state()).fingerprint).toBe(before);
  await here.session.query("alter table workspace_builds rename to workspace_builds_old");
  await here.session.query(
    "create table workspace_builds (like workspace_builds_old including all)",
  );
  expect((await here.state()).fingerprint).not.toBe(before);
});
