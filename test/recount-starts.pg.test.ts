// The oracle's own test, starts: hand-made rows whose durations can be told by looking at them.

import { expect, test } from "vitest";
import { SECOND } from "../src/change/micros.ts";
import { PREBUILDS_USER } from "../src/change/row.ts";
import { JOBS, withRows } from "./support/hand-made.ts";
import { CREATION_BUCKETS, labelKey, recount, recountById } from "./support/recount.ts";

const key = (status: string, isPrebuild = "false"): string =>
  labelKey("docker", "acme", "start", status, isPrebuild);
const one = (seconds: number) => ({
  count: 1,
  sum: seconds * SECOND,
  buckets: CREATION_BUCKETS.map((bound) => (seconds <= bound ? 1 : 0)),
});

test("a start is as long as its last agent took, sub-agents left out and deleted ones not", () =>
  withRows(async (made, client) => {
    const { job } = await made.build({ job: JOBS.succeeded });
    const parent = await made.agent(job, { lifecycle: "ready", ready: 90 });
    await made.agent(job, { name: "second", lifecycle: "ready", ready: 60, deleted: true });
    await made.agent(job, { name: "sub", lifecycle: "ready", ready: 3_690, parent });
    expect(Object.fromEntries((await recount(client)).startDuration)).toEqual({
      [key("success")]: one(90),
    });
    expect(Object.fromEntries((await recountById(client)).ready)).toMatchObject({
      [job]: { took: 90 * SECOND, status: "success", isPrebuild: false },
    });
  }));

test("the worst of its agents counts; by id, what has shut down since tells only when it was over", () =>
  withRows(async (made, client) => {
    const states = [
      ["ready", "start_timeout"],
      ["start_timeout", "start_error"],
      ["off", "start_error"],
      ["off", "start_timeout"],
      ["shutting_down", "ready"],
    ] as const;
    const jobs: string[] = [];
    for (const [first, second] of states) {
      const { job } = await made.build({ initiator: PREBUILDS_USER, job: JOBS.succeeded });
      await made.agent(job, { lifecycle: first, ready: 40 });
      await made.agent(job, { name: "second", lifecycle: second, ready: 50 });
      jobs.push(job);
    }
    const { startDuration } = await recount(client);
    const counts = [...startDuration].map(([labels, { count }]) => [labels, count]);
    expect(Object.fromEntries(counts)).toEqual({
      [key("success", "true")]: 1,
      [key("timeout", "true")]: 2,
      [key("error", "true")]: 2,
    });
    const { ready } = await recountById(client);
    expect(jobs.map((job) => ready.get(job)?.status)).toEqual([
      "timeout",
      "error",
      "error",
      null,
      null,
    ]);
  }));

test("none: one of two is not ready, one starts once more, a stop, a build without agents", () =>
  withRows(async (made, client) => {
    const over = { lifecycle: "ready", ready: 40 };
    const { job: waits, workspace } = await made.build({ job: JOBS.succeeded });
    await made.agent(waits, over);
    await made.agent(waits, { name: "second", lifecycle: "starting" });
    const stop = { workspace, number: 2, transition: "stop", job: JOBS.succeeded } as const;
    await made.agent((await made.build(stop)).job, over);
    await made.build({ job: JOBS.succeeded });
    expect((await recount(client)).startDuration.size).toBe(0);
    expect((await recountById(client)).ready.size).toBe(0);
  }));

test("one that was over before its build was created is a dropped sample, once", () =>
  withRows(async (made, client) => {
    const { job } = await made.build({ job: JOBS.succeeded });
    await made.agent(job, { lifecycle: "ready", ready: -1 });
    const { startDuration, droppedNegative } = await recount(client);
    expect([startDuration.size, droppedNegative]).toEqual([0, 1]);
    expect((await recountById(client)).ready.size).toBe(1);
  }));
