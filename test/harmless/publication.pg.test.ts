// Nothing that Firstlight creates makes a statement of Coder's fail: its full mix runs under the publication, with column lists and
// without, and so do changes of the schema that touch no listed column. What column lists do block is blocked with the words
// that docs/security.md quotes, and the way out that it shows works.

import { readFile } from "node:fs/promises";
import type pg from "pg";
import { expect, test } from "vitest";
import { setup } from "../../src/commands/setup.ts";
import { type Simulation, openSimulation } from "../../src/demo/coder/simulation.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { POSTGRES } from "../matrix/binaries.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { type InProcess, startInProcess, until } from "../support/firstlight.ts";
import { type Scrape, byLabels, regressions } from "../support/scrape.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

/** What migrations of Coder do, to columns that no list names: its own, new ones, those that are looked up. */
const MIGRATIONS = [
  "alter table workspace_agents add column extra text not null default 'x'",
  "alter table workspace_agents alter column extra type varchar(40)",
  "alter table workspace_agents rename column extra to more",
  "alter table workspace_agents drop column more",
  "alter table workspace_builds drop column notified_autostop_deadline",
  "alter table workspace_builds alter column daily_cost type bigint",
  "alter table workspace_agents drop column troubleshooting_url",
  "alter table provisioner_jobs alter column logs_length type bigint",
  "alter table provisioner_jobs alter column input set default '{}'",
  "alter table workspace_agents alter column connection_timeout_seconds type bigint",
  "alter type build_reason add value 'moonlight'",
  "alter table workspace_builds add constraint positive check (build_number > 0)",
  "create index on workspace_builds (reason)",
];

async function setUp(database: TestDatabase, wholeTables: boolean): Promise<void> {
  const clientConfig = parseDatabaseUrl(database.url);
  await setup({
    config: {
      databaseConfigured: true,
      database: async () => clientConfig,
      publication: "firstlight",
      slot: "firstlight",
    },
    apply: true,
    wholeTables,
    out: () => undefined,
    signal: new AbortController().signal,
  });
}

/** Coder on a database of its own, which Firstlight follows under its publication. */
async function openSite(wholeTables: boolean, seed: number) {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createDatabase());
  const folder = stack.use(await temporaryFolder());
  const client = await database.client();
  // All of the simulation is over by then, whatever the server's clock says.
  await client.query("set firstlight.moment = '2100-01-01'");
  await setUp(database, wholeTables);
  const simulation = stack.use(openSimulation({ url: database.url, seed, startAt: START_AT }));
  await simulation.seedDeployment();
  const statePath = folder.path("firstlight.db");
  const firstlight = stack.use(await startInProcess({ url: database.url, statePath }));
  const first = await firstlight.caughtUp();
  const owned = stack.move();
  const site = { database, client, simulation, firstlight, first };
  return { ...site, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

interface Site {
  readonly client: pg.Client;
  readonly simulation: Simulation;
  readonly firstlight: InProcess;
  readonly first: Scrape;
}

/** By total, and once Firstlight has left by id; gives how often each reason for a gap was found. */
async function expectExact({ client, simulation, firstlight, first }: Site) {
  const last = await firstlight.caughtUp(40_000);
  await expectSumsEqualRecount(client, last);
  await firstlight[Symbol.asyncDispose]();
  await expectLedgerEqualsTables(client, firstlight.statePath, simulation);
  expect(regressions(first, last)).toEqual([]);
  const gaps = [...byLabels(last, "firstlight_gaps_total")].filter(([, found]) => found > 0);
  return Object.fromEntries(gaps);
}

/** Publications have no lists of columns before 15: there it is whole tables or nothing. */
const noLists = POSTGRES < 15;

test.each([
  ...(noLists ? [] : [{ lists: "column lists", wholeTables: false }]),
  { lists: "whole tables", wholeTables: true },
])(
  "$lists: all that Coder does succeeds, and migrations of columns that are not listed",
  async (how) => {
    await using site = await openSite(how.wholeTables, 21);
    // A statement that fails ends the simulation with its error.
    await site.simulation.run({ workflows: 60 });
    for (const migration of MIGRATIONS) {
      await site.client.query(migration);
      await site.simulation.run({ workflows: 4 });
    }
    expect(await expectExact(site)).toEqual({});
  },
);

// Shows that the test above would see a failing statement.
test.skipIf(noLists)(
  "another replica identity beside column lists makes Coder's UPDATEs fail, which is why setup refuses it",
  async () => {
    await using site = await openSite(false, 22);
    await site.client.query("alter table provisioner_jobs replica identity full");
    await expect(site.simulation.run({ workflows: 5 })).rejects.toThrow("cannot update table");
  },
);

/** What docs/security.md quotes and shows, so that it is what is tested. */
async function documented() {
  const text = await readFile(new URL("../../docs/security.md", import.meta.url), "utf8");
  const section = text.split("### When a migration of Coder is blocked")[1] ?? "";
  const [messages = ""] = [...section.matchAll(/^```\n([\s\S]*?)\n```/gm)].map((match) => match[1]);
  const [, sql = ""] = /```sql\n([\s\S]*?)```/.exec(section) ?? [];
  return { messages: messages.split("\n"), sql };
}

const BLOCKED = [
  {
    name: "dropped",
    migration: "alter table provisioner_jobs drop column error_code",
    message:
      "cannot drop column error_code of table provisioner_jobs because other objects depend on it",
  },
  {
    name: "retyped",
    migration: "alter table workspace_builds alter column reason type text using reason::text",
    message: "cannot alter type of a column used by a publication WHERE clause",
  },
] as const;

test.skipIf(noLists).each(BLOCKED)(
  "a listed column is not $name, in the words of the docs",
  async ({ migration, message }) => {
    await using site = await openSite(false, 23);
    await expect(site.client.query(migration)).rejects.toThrow(message);
    expect((await documented()).messages).toContain(message);
    // Nothing is lost: Coder goes on as it was.
    await site.simulation.run({ workflows: 10 });
    expect(await expectExact(site)).toEqual({});
  },
);

test.each(BLOCKED)("whole tables: a column is $name", async ({ migration }) => {
  await using database = await createDatabase();
  const client = await database.client();
  await setUp(database, true);
  await client.query(migration);
});

test.skipIf(noLists)(
  "the way out: drop the publication, migrate, set up again; Firstlight heals by one baseline",
  async () => {
    await using site = await openSite(false, 24);
    await site.simulation.run({ workflows: 30 });
    await site.firstlight.caughtUp();
    const { sql } = await documented();
    expect(sql.trim()).toBe('drop publication "firstlight";');
    await site.client.query(sql);
    // As a migration does that gives a column another type.
    await site.client.query(`
    create type build_reason_2 as enum ('initiator', 'autostart', 'autostop', 'dormancy', 'failedstop', 'autodelete', 'dashboard',
      'cli', 'ssh_connection', 'vscode_connection', 'jetbrains_connection', 'task_auto_pause', 'task_manual_pause', 'task_resume');
    alter table workspace_builds alter column reason drop default,
      alter column reason type build_reason_2 using reason::text::build_reason_2,
      alter column reason set default 'initiator';
    drop type build_reason;
    alter type build_reason_2 rename to build_reason`);
    await site.simulation.run({ workflows: 30 });
    await until("it waits and says why", async () =>
      site.firstlight.log.some((line) => line.includes("there is no publication firstlight")),
    );
    await site.simulation.run({ workflows: 10 });
    await setUp(site.database, false);
    await site.simulation.run({ workflows: 10 });
    expect(await expectExact(site)).toEqual({ '["publication_changed"]': 1 });
  },
);
