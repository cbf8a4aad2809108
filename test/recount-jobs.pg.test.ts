// The oracle's own test, jobs of all types: hand-made rows whose waits and durations can be added up by hand.

import { expect, test } from "vitest";
import { SECOND } from "../src/change/micros.ts";
import { PREBUILDS_USER } from "../src/change/row.ts";
import { JOBS, START, at, withRows } from "./support/hand-made.ts";
import {
  CREATION_BUCKETS,
  WAIT_BUCKETS,
  labelKey,
  recount,
  recountById,
} from "./support/recount.ts";

const IMPORT = "template_version_import";
const DRY_RUN = "template_version_dry_run";
const waits = (type: string, transition = "", reason = ""): string =>
  labelKey("terraform", type, transition, reason);
const timings = (status: string): string => labelKey("terraform", status);

test("waits by type, and of builds by transition and reason or the pool", () =>
  withRows(async (made, client) => {
    await made.job(IMPORT, JOBS.running);
    await made.job(DRY_RUN, JOBS.failed);
    const { workspace } = await made.build({ job: JOBS.succeeded });
    const job = JOBS.canceling;
    await made.build({ workspace, number: 2, transition: "stop", reason: "autostop", job });
    await made.build({ initiator: PREBUILDS_USER, job });
    const { queueWait } = await recount(client);
    expect([...queueWait.keys()].sort()).toEqual(
      [
        waits(IMPORT),
        waits(DRY_RUN),
        waits("workspace_build", "start", "initiator"),
        waits("workspace_build", "start", "prebuild"),
        waits("workspace_build", "stop", "autostop"),
      ].sort(),
    );
    for (const counted of queueWait.values())
      expect(counted).toEqual({
        count: 1,
        sum: 5 * SECOND,
        buckets: [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1],
      });
  }));

test("what no worker had has not waited for one: pending, canceled in the queue, reaped, an orphan's", () =>
  withRows(async (made, client) => {
    for (const job of [
      JOBS.pending,
      JOBS.canceledWhilePending,
      { started_at: at(30), completed_at: at(30), error: "reaped" },
      { started_at: at(0), completed_at: at(0) },
    ]) {
      await made.job(IMPORT, job);
      await made.build({ job });
    }
    const { queueWait, jobTimings, jobsCurrent } = await recount(client);
    expect([queueWait.size, jobTimings.size, jobsCurrent.size]).toEqual([0, 0, 0]);
    expect((await recountById(client)).jobs.size).toBe(0);
  }));

test("no wait is shorter than a millisecond; a bucket holds its bound, and one microsecond more falls into the next", () =>
  withRows(async (made, client) => {
    for (const started of [0, -3, 0.001])
      await made.job(DRY_RUN, { ...JOBS.running, started_at: at(started) });
    for (const started of WAIT_BUCKETS.flatMap((bound) => [bound, bound + 1e-6]))
      await made.job(IMPORT, { ...JOBS.running, started_at: at(started) });
    const { queueWait } = await recount(client);
    expect(queueWait.get(waits(DRY_RUN))).toMatchObject({ count: 3, sum: 3_000 });
    expect(queueWait.get(waits(IMPORT))?.buckets).toEqual(
      WAIT_BUCKETS.map((_, index) => 1 + 2 * index),
    );
  }));

test("timings of all types by status: done, also when it was canceled and done all the same, or failed", () =>
  withRows(async (made, client) => {
    // Each took 25 s.
    await made.job(IMPORT, JOBS.succeeded);
    await made.job(DRY_RUN, { ...JOBS.succeeded, canceled_at: at(20) });
    await made.build({ job: JOBS.succeeded });
    await made.job(IMPORT, JOBS.failed);
    await made.build({ job: { ...JOBS.failed, canceled_at: at(20) } });
    await made.build({ job: JOBS.running });
    expect(Object.fromEntries((await recount(client)).jobTimings)).toEqual({
      [timings("success")]: { count: 3, sum: 75 * SECOND, buckets: [0, 0, 3, 3, 3, 3, 3, 3] },
      [timings("failed")]: { count: 2, sum: 50 * SECOND, buckets: [0, 0, 2, 2, 2, 2, 2, 2] },
    });
  }));

test("a bucket of the timings holds its bound, and a negative duration is a dropped sample", () =>
  withRows(async (made, client) => {
    for (const took of CREATION_BUCKETS.flatMap((bound) => [bound, bound + 1e-6, -bound]))
      await made.job(IMPORT, { ...JOBS.succeeded, started_at: at(0), completed_at: at(took) });
    const { jobTimings, droppedNegative } = await recount(client);
    expect(jobTimings.get(timings("success"))?.buckets).toEqual(
      CREATION_BUCKETS.map((_, index) => 1 + 2 * index),
    );
    expect(droppedNegative).toBe(CREATION_BUCKETS.length);
  }));

test("jobs that run, of all types, and by id what their workers did", () =>
  withRows(async (made, client) => {
    const id = await made.job(IMPORT, JOBS.running);
    await made.build({ job: JOBS.canceling });
    await made.build({ job: JOBS.pending });
    const over = await made.job(DRY_RUN, JOBS.failed);
    expect([...(await recount(client)).jobsCurrent]).toEqual([[labelKey("terraform"), 2]]);
    const { jobs } = await recountById(client);
    expect(jobs.size).toBe(3);
    const started = { provisioner: "terraform", startedAt: START + 5 * SECOND, waited: 5 * SECOND };
    const runs = { completedAt: null, took: null, status: null };
    expect(jobs.get(id)).toEqual({ type: IMPORT, ...started, ...runs });
    expect(jobs.get(over)).toEqual({
      type: DRY_RUN,
      ...started,
      completedAt: START + 30 * SECOND,
      took: 25 * SECOND,
      status: "failure",
    });
  }));
