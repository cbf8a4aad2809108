// Agents that do not connect in time, as a running follower sees them: time passes without news, backlogs are read before anybody
// is told overdue, restarts forget nothing. The rows are of another time than the server's clock, which only decides when it is told.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { expectLedgerEqualsTables } from "../support/exact.ts";
import { TIMEOUTS } from "../support/exact-overdue.ts";
import { type Firstlight, STREAMING, startInProcess, until } from "../support/firstlight.ts";
import { type HandMade, JOBS } from "../support/hand-made.ts";
import { readLedger } from "../support/ledger.ts";
import { byLabels, sumOf, valueOf } from "../support/scrape.ts";
import { type Scene, scene, sceneAlone } from "./support/scene.ts";
import { asVersion4 } from "../support/version-4.ts";

/** After a grace of so many milliseconds: as soon as may be, or not while a test lasts. */
const [AT_ONCE, NEVER] = [{ graceMs: -1e12 }, { graceMs: 1e12 }];

const MAIN = JSON.stringify(["acme", "docker", "main"]);

const build = async (made: HandMade): Promise<string> =>
  (await made.inOneTransaction(() => made.build({ job: JOBS.succeeded }))).job;

async function shown(firstlight: Firstlight): Promise<number | undefined> {
  return byLabels(await firstlight.scrape(), TIMEOUTS).get(MAIN);
}

const isShown = (firstlight: Firstlight, count: number): Promise<void> =>
  until(`${count} are shown`, async () => (await shown(firstlight)) === count);

/** Ids of the facts that are told, as anybody can ask for them. */
async function told(firstlight: Firstlight): Promise<readonly string[]> {
  const answer = await firstlight.get("/api/facts?kind=overdue");
  const { facts } = (await answer.json()) as { facts: readonly { readonly id: string }[] };
  return facts.map(({ id }) => id).sort();
}

test.each([
  ["in bursts", {}],
  ["on a stream", STREAMING],
])(
  "%s, on a database where nothing happens: born at 0, told when the time and the grace are up, and not before",
  (_how, env) =>
    scene(async ({ client, made, target }) => {
      {
        await using firstlight = await startInProcess({ ...target, env, timing: { graceMs: 500 } });
        await firstlight.caughtUp();
        expect(await shown(firstlight)).toBeUndefined();
        const job = await build(made);
        const began = Date.now();
        const agent = await made.agent(job, { timeout: 2 });
        await made.agent(job, { name: "any-time" });
        await firstlight.caughtUp();
        expect(await shown(firstlight)).toBe(0);
        await isShown(firstlight, 1);
        expect(Date.now() - began).toBeGreaterThanOrEqual(2_500);
        expect(await told(firstlight)).toEqual([agent]);
        // It connects after all.
        await made.connects(agent, 500);
        const page = await firstlight.caughtUp();
        expect(sumOf(page, TIMEOUTS)).toBe(1);
        expect(sumOf(page, "firstlight_divergent_ids")).toBe(0);
        expect(valueOf(page, 'firstlight_facts_total{fact="overdue"}')).toBe(1);
      }
      await expectLedgerEqualsTables(client, target.statePath);
    }),
);

test("who connects just before, or at the moment, is in time; who connects a microsecond later is told with that", () =>
  scene(async ({ client, made, target }) => {
    {
      await using firstlight = await startInProcess({ ...target, timing: NEVER });
      const job = await build(made);
      const agents = [];
      for (const name of ["before", "at", "after"])
        agents.push(await made.agent(job, { name, timeout: 60 }));
      await firstlight.caughtUp();
      for (const [index, seconds] of [60 - 1e-6, 60, 60 + 1e-6].entries())
        await made.connects(agents[index] ?? "", seconds);
      await firstlight.caughtUp();
      expect(await told(firstlight)).toEqual(agents.slice(2));
    }
    await expectLedgerEqualsTables(client, target.statePath);
  }));

/** Agents that may take any time to connect, in one transaction. */
async function insertCrowd({ client }: Scene, job: string, count: number): Promise<void> {
  const inserted = await client.query(
    `insert into workspace_agents (id, created_at, updated_at, name, resource_id, auth_token, architecture, operating_system)
     select gen_random_uuid(), one.created_at, one.created_at, 'crowd', one.resource_id, gen_random_uuid(), 'amd64', 'linux'
     from (select created_at, id as resource_id from workspace_resources where job_id = $1 limit 1) as one,
       generate_series(1, $2)`,
    [job, count],
  );
  expect(inserted.rowCount).toBe(count);
}

test.each([
  ["in bursts", {}],
  ["on a stream", STREAMING],
])(
  "%s, the backlog of an outage is read before anybody is told: who connected in it in time never is",
  (_how, env) =>
    // Alone: WAL of a neighbour makes a stream of bursts, which learns what time it is every 10 s.
    sceneAlone(async (on) => {
      const { client, made, target } = on;
      const job = await build(made);
      const before = await made.agent(job, { name: "before", timeout: 60 });
      {
        await using firstlight = await startInProcess({ ...target, env, timing: NEVER });
        await firstlight.caughtUp();
      }
      const inTime = await made.agent(job, { name: "in-time", timeout: 60 });
      const late = await made.agent(job, { name: "late", timeout: 60 });
      const never = await made.agent(job, { name: "never", timeout: 60 });
      // More than one batch takes, and then more than comes with it: the connections below are not in the batch of the births.
      await client.query("alter table workspace_agents disable trigger user");
      await insertCrowd(on, job, 20_001);
      await insertCrowd(on, job, 3_000);
      for (const agent of [before, inTime]) await made.connects(agent, 50);
      await made.connects(late, 61);
      {
        // By this clock the time of all is up since long ago.
        await using firstlight = await startInProcess({ ...target, env, timing: AT_ONCE });
        // Two batches of twenty thousand agents of one build.
        await firstlight.caughtUp(90_000);
        const isTold = async (): Promise<boolean> => (await told(firstlight)).includes(never);
        await until("one who never connected is told", isTold, 60_000);
        expect(await told(firstlight)).toEqual([late, never].sort());
        expect(sumOf(await firstlight.scrape(), "firstlight_divergent_ids")).toBe(0);
      }
      await expectLedgerEqualsTables(client, target.statePath);
    }),
  180_000,
);

test("a commit that takes longer than the grace: told, then listed as divergent, and counted on", () =>
  scene(async ({ client, made, target }) => {
    {
      await using firstlight = await startInProcess({ ...target, timing: { graceMs: 0 } });
      await firstlight.caughtUp();
      const agent = await made.agent(await build(made), { timeout: 1 });
      await isShown(firstlight, 1);
      await made.connects(agent, 0.5);
      const page = await firstlight.caughtUp();
      expect(valueOf(page, 'firstlight_divergent_ids{kind="overdue"}')).toBe(1);
      expect(await shown(firstlight)).toBe(1);
    }
    await expectLedgerEqualsTables(client, target.statePath);
  }));

test("an agent whose row is deleted before its time is up is not told; one whose workspace is stopped or deleted is", () =>
  scene(async ({ client, made, target }) => {
    await using firstlight = await startInProcess({ ...target, timing: { graceMs: 0 } });
    await firstlight.caughtUp();
    const { job, workspace } = await made.build({ job: JOBS.succeeded });
    const gone = await made.agent(job, { name: "gone", timeout: 2 });
    const deleted = await made.agent(job, { name: "deleted", timeout: 2 });
    await made.build({ job: JOBS.succeeded, workspace, number: 2, transition: "delete" });
    await client.query("update workspace_agents set deleted = true where id = $1", [deleted]);
    await client.query("delete from workspace_agents where id = $1", [gone]);
    await until("the other one is told", async () => (await told(firstlight)).length > 0);
    await sleep(500);
    expect(await told(firstlight)).toEqual([deleted]);
  }));

test("the tables tell of those who were late, and of those whose time is up by Coder's own rows; others are waited for", () =>
  scene(async ({ client, made, target }) => {
    const job = await build(made);
    const agents = {
      late: await made.agent(job, { name: "late", timeout: 60, connected: 61 }),
      up: await made.agent(job, { name: "up", timeout: 60 }),
      notYet: await made.agent(job, { name: "not-yet", timeout: 70 }),
    };
    await made.agent(job, { name: "in-time", timeout: 60, connected: 59 });
    // Coder has written this since: 60 s and the grace had passed by then, 70 s and the grace had not.
    await made.build({ created: 99, job: {} });
    {
      await using firstlight = await startInProcess(target);
      await firstlight.caughtUp();
      expect(await told(firstlight)).toEqual([agents.late, agents.up].sort());
    }
    expect([...readLedger(target.statePath).due]).toEqual([agents.notYet]);
    {
      await using firstlight = await startInProcess({ ...target, timing: AT_ONCE });
      await until("all are told", async () => (await told(firstlight)).length === 3);
      expect(valueOf(await firstlight.scrape(), "firstlight_baselines_total")).toBe(0);
    }
    expect(readLedger(target.statePath).due.size).toBe(0);
    await expectLedgerEqualsTables(client, target.statePath);
  }));

test("a ledger of version 4 is completed: who was late, by the names that were counted, and who still waits", () =>
  scene(async ({ client, made, target }) => {
    const job = await build(made);
    const late = await made.agent(job, { timeout: 60, connected: 61 });
    const never = await made.agent(await build(made), { timeout: 60 });
    const waits = await made.agent(await build(made), { timeout: 3_600 });
    await made.build({ created: 99, job: {} });
    {
      await using before = await startInProcess({ ...target, timing: NEVER });
      await before.caughtUp();
    }
    asVersion4(target.statePath);
    await client.query("update templates set name = 'renamed'");
    {
      await using firstlight = await startInProcess(target);
      const page = await firstlight.caughtUp();
      expect(Object.fromEntries(byLabels(page, TIMEOUTS))).toEqual({ [MAIN]: 2 });
      expect(await told(firstlight)).toEqual([late, never].sort());
      expect(valueOf(page, 'firstlight_gaps_total{reason="ledger_upgraded"}')).toBe(1);
    }
    expect([...readLedger(target.statePath).due]).toEqual([waits]);
    await expectLedgerEqualsTables(client, target.statePath);
  }));
