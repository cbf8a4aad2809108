// Series of deleted workspaces, against a database: what a first baseline makes none of, what goes and what stays while it is followed, over
// restarts and gaps, and in a ledger of an older version.

import { expect, test, vi } from "vitest";
import type pg from "pg";
import { type Simulation, openSimulation } from "../src/demo/coder/simulation.ts";
import { temporaryFolder } from "./crash/support/folder.ts";
import { createDatabase } from "./support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "./support/exact.ts";
import { expectShownByName, retirementOf } from "./support/exact-deletions.ts";
import { publish, startInProcess, uniqueSlot } from "./support/firstlight.ts";
import { HandMade, JOBS } from "./support/hand-made.ts";
import { isByName, isOfHidden } from "./support/retiring.ts";
import { type Scrape, byLabels, valueOf } from "./support/scrape.ts";
import { asVersion4 } from "./support/version-4.ts";

vi.setConfig({ testTimeout: 180_000 });

const DAY = 86_400_000_000;
/** Nothing that these tests make was deleted so long ago. */
const NOT_YET = "36500d";

/** Of which each retires the series of ten workspaces. */
const COMMITS = 4;

interface Target {
  readonly client: pg.Client;
  readonly url: string;
  readonly slot: string;
  readonly statePath: string;
}

/**
 * Follows until everything is shown, what is done meanwhile too, with series retiring after so long, or once they were deleted before
 * this time (in milliseconds); the page then.
 */
async function followed(
  { client, ...target }: Target,
  retireAfter: string | number,
  meanwhile: () => Promise<unknown> = async () => undefined,
): Promise<Scrape> {
  await using firstlight = await startInProcess({
    ...target,
    env: { FIRSTLIGHT_SERIES_RETIRE_AFTER: retireAfterFrom(retireAfter) },
  });
  await firstlight.caughtUp();
  await meanwhile();
  // So that there is something to commit, which is when series retire, those of ten workspaces at a time.
  let page = await firstlight.caughtUp();
  for (let commits = 0; commits < COMMITS; commits += 1) {
    await client.query("update organizations set updated_at = updated_at");
    page = await firstlight.caughtUp();
  }
  return page;
}

function retireAfterFrom(given: string | number): string {
  return typeof given === "string" ? given : `${Math.floor((Date.now() - given) / 1_000)}s`;
}

const byName = ({ text }: Scrape): readonly string[] => text.split("\n").filter(isByName).sort();
/** How many lines there are of anything else. */
const others = ({ text }: Scrape): number =>
  text.split("\n").filter((line) => !isByName(line) && !isOfHidden(line)).length;
const counts = (scrape: Scrape, metric: string): Record<string, number> =>
  Object.fromEntries([...byLabels(scrape, metric)].filter(([, value]) => value > 0));

test("a first baseline makes none for workspaces that are deleted, and a workspace of such a name begins at its own first build", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  const made = await HandMade.on(client);
  const stays = await made.build({ job: JOBS.succeeded });
  await made.agent(stays.job, { connected: 3 });
  const goes = await made.build({ job: JOBS.succeeded });
  await made.agent(goes.job, { connected: 3 });
  await made.build({
    workspace: goes.workspace,
    number: 2,
    job: JOBS.succeeded,
    transition: "delete",
  });
  await client.query("update workspaces set deleted = true where id = $1", [goes.workspace]);

  const target = {
    client,
    url: database.url,
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
  };
  const first = await followed(target, NOT_YET);
  const start = '"docker","v1","START","success"';
  expect(counts(first, "coderd_workspace_builds_total")).toEqual({
    [`["alice","dev-1",${start}]`]: 1,
  });
  expect(counts(first, "coderd_agents_first_connection_seconds_count")).toEqual({
    '["docker","main","alice","dev-1"]': 1,
  });
  expect(valueOf(first, 'firstlight_series{family="coderd_workspace_builds_total"}')).toBe(2);
  const attempts = byLabels(first, "coderd_workspace_creation_attempts_total");
  expect([...attempts.values()].reduce((sum, value) => sum + value, 0)).toBe(2);
  expect(byName(await followed(target, NOT_YET)), "after a restart").toEqual(byName(first));

  const again = await made.workspace();
  await client.query("update workspaces set name = 'dev-2' where id = $1", [again]);
  const { job } = await made.inOneTransaction(() => made.build({ workspace: again }));
  await client.query(
    "update provisioner_jobs set worker_id = $2, started_at = $3, completed_at = $4 where id = $1",
    [job, JOBS.succeeded.worker_id, JOBS.succeeded.started_at, JOBS.succeeded.completed_at],
  );
  expect(counts(await followed(target, NOT_YET), "coderd_workspace_builds_total")).toEqual({
    [`["alice","dev-1",${start}]`]: 1,
    [`["alice","dev-2",${start}]`]: 1,
  });
  await expectLedgerEqualsTables(client, target.statePath);
});

/** A deployment that has been followed from its beginning, with many workspaces deleted by now. */
async function withDeletions(
  story: (deployment: {
    readonly client: pg.Client;
    readonly simulation: Simulation;
    readonly target: Target;
    /** A time before which some of the deletions were done, and the others not for a while. */
    readonly some: number;
  }) => Promise<void>,
): Promise<void> {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  await using simulation = openSimulation({
    url: database.url,
    seed: 7,
    startAt: Date.now() * 1_000 - 30 * DAY,
  });
  await simulation.seedDeployment();
  const target = {
    client,
    url: database.url,
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
  };
  const all = await followed(target, NOT_YET, () => simulation.run({ workflows: 120 }));
  await expectSumsEqualRecount(client, all);
  const { rows } = await client.query<{ at: string }>(
    `select (extract(epoch from completed_at) * 1000)::text as at
     from provisioner_jobs join workspace_builds on job_id = provisioner_jobs.id
     where transition = 'delete' and completed_at is not null and coalesce(error, '') = '' order by completed_at`,
  );
  expect(rows.length, "the premise: deletions").toBeGreaterThan(3);
  const times = rows.map(({ at }) => Number(at));
  const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  const longest = pauses.indexOf(Math.max(...pauses));
  await story({ client, simulation, target, some: times[longest] ?? 0 });
}

test("what was deleted for so long goes, all else stays: over more work, restarts, and a gap; without retirement all is there", async () => {
  await withDeletions(async ({ client, simulation, target, some }) => {
    const before = await followed(target, NOT_YET);
    const after = await followed(target, some);
    expectShownByName(target.statePath, after);
    const { upTo, hidden, leftOut } = retirementOf(target.statePath);
    expect(leftOut).toEqual([]);
    expect(upTo).not.toBeNull();
    expect(hidden).toBeGreaterThan(0);
    expect(byName(after).length).toBeLessThan(byName(before).length);
    expect(others(after), "all else is there").toBe(others(before));
    await expectSumsEqualRecount(client, after);

    const worked = await followed(target, some, () => simulation.run({ workflows: 40 }));
    expectShownByName(target.statePath, worked);
    expect(byName(await followed(target, some)), "after a restart").toEqual(byName(worked));
    await client.query("select pg_drop_replication_slot($1)", [target.slot]);
    const healed = await followed(target, some);
    expect(valueOf(healed, "firstlight_baselines_total")).toBe(1);
    expect(byName(healed), "after a gap").toEqual(byName(worked));
    await expectLedgerEqualsTables(client, target.statePath, simulation);
    await expectSumsEqualRecount(client, await followed(target, "never"));
  });
});

test("a ledger of before version 5 is completed, and shows what it would have shown", async () => {
  await withDeletions(async ({ client, simulation, target, some }) => {
    const before = await followed(target, some);
    asVersion4(target.statePath);
    const after = await followed(target, some);
    expect(Object.fromEntries(byLabels(after, "firstlight_gaps_total"))).toEqual({
      '["ledger_upgraded"]': 1,
    });
    expect(byName(after)).toEqual(byName(before));
    expectShownByName(target.statePath, after);
    await expectLedgerEqualsTables(client, target.statePath, simulation);
  });
});
