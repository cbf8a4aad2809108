// The oracle's own test, builds of every kind: hand-made rows of prebuilds, claims and ordinary builds whose totals and
// durations can be added up by hand. Cases of Coder's TestMetricsCollector and TestWorkspaceProvisionerdServerMetrics.

import type pg from "pg";
import { expect, test } from "vitest";
import { SECOND } from "../src/change/micros.ts";
import { PREBUILDS_USER, type Uuid } from "../src/change/row.ts";
import { type HandMade, JOBS, type JobColumns, at, withRows } from "./support/hand-made.ts";
import {
  CLAIM_BUCKETS,
  CREATION_BUCKETS,
  labelKey,
  recount,
  recountById,
} from "./support/recount.ts";

const LARGE = labelKey("acme", "docker", "large");
/** In the order of the pool's counters. */
const POOL = labelKey("docker", "large", "acme");

const enqueued = (reason: string, transition: string): string =>
  labelKey("terraform", reason, transition, "success");

/** The last two labels of each. */
const words = (counted: ReadonlyMap<string, unknown>): string[] =>
  [...counted.keys()].map((key) => (JSON.parse(key) as string[]).slice(-2).join(" "));

async function prebuild(made: HandMade, job: JobColumns = JOBS.succeeded): Promise<Uuid> {
  const workspace = await made.workspace({ owner: PREBUILDS_USER });
  await made.build({ workspace, initiator: PREBUILDS_USER, preset: made.large, job });
  return workspace;
}

async function claim(made: HandMade, client: pg.Client, workspace: Uuid): Promise<void> {
  await client.query("update workspaces set owner_id = $1 where id = $2", [made.alice, workspace]);
  const job = { ...JOBS.succeeded, completed_at: at(12) };
  await made.build({ workspace, number: 2, preset: made.large, stage: 2, job });
}

test("the pool: created whatever became of it, failed, and claimed by whom it belongs to now", () =>
  withRows(async (made, client) => {
    for (const job of [JOBS.pending, JOBS.running, JOBS.failed, JOBS.canceledWhilePending])
      await prebuild(made, job);
    const claimed = await prebuild(made);
    await prebuild(made);
    await claim(made, client, claimed);
    await client.query("update templates set deleted = true");
    const counted = await recount(client);
    expect([...counted.prebuildsCreated]).toEqual([[POOL, 6]]);
    expect([...counted.prebuildsFailed]).toEqual([[POOL, 1]]);
    expect([...counted.prebuildsClaimed]).toEqual([[POOL, 1]]);
    const { traits } = await recountById(client);
    expect([...traits.values()].filter((build) => build.claim)).toEqual([
      {
        transition: "start",
        reason: "initiator",
        provisioner: "terraform",
        initial: false,
        prebuild: false,
        claim: true,
      },
    ]);
  }));

test("a prebuild without a preset, a later build by the same user, and a person's build are none of the pool's", () =>
  withRows(async (made, client) => {
    await made.build({ initiator: PREBUILDS_USER, job: JOBS.failed });
    await made.build({
      initiator: PREBUILDS_USER,
      number: 2,
      preset: made.large,
      job: JOBS.failed,
    });
    await made.build({ preset: made.large, job: JOBS.failed });
    const counted = await recount(client);
    for (const none of [
      counted.prebuildsCreated,
      counted.prebuildsFailed,
      counted.prebuildsClaimed,
    ])
      expect(none.size).toBe(0);
  }));

test("durations: what makes a workspace, by who made it, and what claims one, queue left out", () =>
  withRows(async (made, client) => {
    // Each took 25 s, the claim 7 s.
    await made.build({ preset: made.large, job: JOBS.succeeded });
    await claim(made, client, await prebuild(made));
    const counted = await recount(client);
    const creation = { count: 1, sum: 25 * SECOND, buckets: [0, 0, 1, 1, 1, 1, 1, 1] };
    expect(Object.fromEntries(counted.creationDuration)).toEqual({
      [labelKey("acme", "docker", "large", "regular")]: creation,
      [labelKey("acme", "docker", "large", "prebuild")]: creation,
    });
    expect([...counted.claimDuration]).toEqual([
      [LARGE, { count: 1, sum: 7 * SECOND, buckets: [0, 0, 1, 1, 1, 1, 1, 1, 1, 1] }],
    ]);
  }));

test("a bucket holds its bound, and one microsecond more falls into the next", () =>
  withRows(async (made, client) => {
    for (const [bounds, stage] of [
      [CREATION_BUCKETS, undefined],
      [CLAIM_BUCKETS, 2],
    ] as const)
      for (const took of bounds.flatMap((bound) => [bound, bound + 1e-6]))
        await made.build({
          ...(stage && { stage, number: 2 }),
          job: { ...JOBS.succeeded, started_at: at(0), completed_at: at(took) },
        });
    const { creationDuration, claimDuration } = await recount(client);
    const [[creation], [claims]] = [[...creationDuration.values()], [...claimDuration.values()]];
    expect(creation?.buckets).toEqual(CREATION_BUCKETS.map((_, index) => 1 + 2 * index));
    expect(claims?.buckets).toEqual(CLAIM_BUCKETS.map((_, index) => 1 + 2 * index));
  }));

test("no duration: what failed, was canceled, runs, had no provisioner, or does not make a workspace", () =>
  withRows(async (made, client) => {
    const { worker_id: _none, ...unowned } = JOBS.succeeded;
    for (const job of [JOBS.failed, JOBS.running, JOBS.canceledWhilePending, unowned])
      await made.build({ job });
    await made.build({ job: { ...JOBS.succeeded, canceled_at: at(20) } });
    await made.build({ job: JOBS.succeeded, number: 2 });
    await made.build({ job: JOBS.succeeded, transition: "stop" });
    const counted = await recount(client);
    expect([counted.creationDuration.size, counted.claimDuration.size]).toEqual([0, 0]);
    expect(counted.droppedNegative).toBe(0);
  }));

test("a negative duration is a dropped sample, of every kind of build that a provisioner had", () =>
  withRows(async (made, client) => {
    const job = { ...JOBS.succeeded, started_at: at(31) };
    await made.build({ job });
    await made.build({ job, initiator: PREBUILDS_USER });
    await made.build({ job, number: 2, stage: 2 });
    await made.build({ job, number: 2 });
    await made.build({ job: { ...job, error: "failed" } });
    const { worker_id: _none, ...unowned } = job;
    await made.build({ job: unowned });
    const counted = await recount(client);
    expect(counted.droppedNegative).toBe(5);
    expect(counted.buildTimings.size).toBe(0);
    expect([...counted.builds.values()].reduce((sum, n) => sum + n, 0)).toBe(5);
    expect([counted.creationDuration.size, counted.claimDuration.size]).toEqual([0, 0]);
  }));

test("a workspace is created by its lowest start that succeeded, and by the pool's none is", () =>
  withRows(async (made, client) => {
    const { workspace } = await made.build({ job: JOBS.failed });
    await made.build({ workspace, number: 2, transition: "stop", job: JOBS.succeeded });
    await made.build({ workspace, number: 4, preset: made.large, job: JOBS.succeeded });
    await made.build({ workspace, number: 3, job: JOBS.succeeded });
    await claim(made, client, await prebuild(made));
    await made.build({ job: { ...JOBS.succeeded, canceled_at: at(20) } });
    await client.query("update templates set deleted = true");
    const { created } = await recount(client);
    expect(Object.fromEntries(created)).toEqual({ [labelKey("acme", "docker", "")]: 1 });
    const byId = (await recountById(client)).created;
    expect(byId.get(workspace)).toMatchObject({ number: 3 });
    expect([...byId.values()].map(({ number }) => number).sort()).toEqual([1, 3]);
  }));

test("builds by workspace: what a provisioner had, done or failed, under its own words", () =>
  withRows(async (made, client) => {
    const { workspace } = await made.build({ job: JOBS.succeeded });
    await made.build({ workspace, number: 2, transition: "stop", job: JOBS.failed });
    await made.build({ workspace, number: 3, transition: "delete", job: JOBS.succeeded });
    await made.build({ workspace, number: 4, job: JOBS.running });
    await made.build({ workspace, number: 5, job: JOBS.canceledWhilePending });
    const { builds, buildTimings } = await recount(client);
    const expected = ["DESTROY success", "START success", "STOP failed"];
    expect(words(builds)).toEqual(expected);
    expect(words(buildTimings)).toEqual(expected);
    expect([...buildTimings.values()].map(({ count }) => count)).toEqual([1, 1, 1]);
  }));

test("every build is enqueued, under its reason or that of the pool", () =>
  withRows(async (made, client) => {
    const { workspace } = await made.build();
    await made.build({ workspace, number: 2, transition: "stop", reason: "autostop" });
    await made.build({ workspace, number: 3, reason: "autostart", job: JOBS.succeeded });
    await made.build({ initiator: PREBUILDS_USER });
    await made.build({ initiator: PREBUILDS_USER, number: 2, transition: "delete" });
    expect(Object.fromEntries((await recount(client)).enqueued)).toEqual({
      [enqueued("initiator", "start")]: 1,
      [enqueued("autostop", "stop")]: 1,
      [enqueued("autostart", "start")]: 1,
      [enqueued("prebuild", "start")]: 1,
      [enqueued("prebuild", "delete")]: 1,
    });
  }));
