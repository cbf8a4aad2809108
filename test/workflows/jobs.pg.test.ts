// Jobs of all types from the queue to their end. Upstream's TestProvisionerJobQueueWaitMetric, made again, and what it leaves out.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Build } from "../../src/demo/coder/model.ts";
import { byLabels, sumOf } from "../support/scrape.ts";
import { divergentBesideStarts } from "../support/ledger.ts";
import { type Stage, openStage } from "./support/stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ seed: 21 });
});
afterAll(async () => stage[Symbol.asyncDispose]());

const WAITS = "coderd_provisioner_job_queue_wait_seconds";
const TIMINGS = "coderd_provisionerd_job_timings_seconds";
const CURRENT = "coderd_provisionerd_jobs_current";
/** Longer than the clocks of two replicas can differ. */
const WORK = 20 * SECOND;

/** What moved, by the labels beside the provisioner: samples that were observed, and jobs that run. */
async function movedBy(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const counted = (): [string, number][] =>
    [
      ["waited", `${WAITS}_count`],
      ["took", `${TIMINGS}_count`],
      ["current", CURRENT],
    ].flatMap(([name = "", metric = ""]) =>
      [...byLabels(stage.scrape, metric)].map(([labels, value]): [string, number] => {
        const [provisioner, ...rest] = JSON.parse(labels) as string[];
        expect(provisioner).toBe("terraform");
        return [[name, ...rest].join(" ").trimEnd(), value];
      }),
    );
  const before = new Map(counted());
  await stage.run(work);
  const moved = counted().map(([name, value]) => [name, value - (before.get(name) ?? 0)] as const);
  return Object.fromEntries(moved.filter(([, by]) => by !== 0));
}

/** By how much the waits of all jobs add up to more. */
async function waited(work: () => Promise<unknown>): Promise<number> {
  const before = sumOf(stage.scrape, `${WAITS}_sum`);
  await stage.run(work);
  return sumOf(stage.scrape, `${WAITS}_sum`) - before;
}

test("from the beginning there is a series for all that can wait and end", async () => {
  expect(byLabels(stage.scrape, `${WAITS}_count`).size).toBe(3 * 15 + 2);
  expect([...byLabels(stage.scrape, `${TIMINGS}_count`).keys()]).toEqual([
    '["terraform","success"]',
    '["terraform","failed"]',
  ]);
  expect([...byLabels(stage.scrape, CURRENT)]).toEqual([['["terraform"]', 0]]);
});

describe("TestProvisionerJobQueueWaitMetric", () => {
  test("an import is one sample, without a transition and a reason", async () => {
    expect(await movedBy(() => stage.simulation.workflows.publishVersion())).toEqual({
      "waited template_version_import": 1,
      "took success": 1,
    });
    expect(sumOf(stage.scrape, `${WAITS}_sum`)).toBeGreaterThan(0);
  });

  test("a build of a workspace is one sample, of its transition and reason", async () => {
    expect(await movedBy(() => stage.simulation.workflows.createRegular())).toEqual({
      "waited workspace_build start initiator": 1,
      "took success": 1,
    });
  });
});

test("a dry run, and an import that fails", async () => {
  const { workflows } = stage.simulation;
  expect(await movedBy(() => workflows.dryRun())).toEqual({
    "waited template_version_dry_run": 1,
    "took success": 1,
  });
  expect(await movedBy(() => workflows.importFails())).toEqual({
    "waited template_version_import": 1,
    "took failed": 1,
  });
});

test("a build of the pool waits as prebuild, whatever its reason", async () => {
  const { steps } = stage.simulation;
  const moved = await movedBy(async () => {
    const build = await steps.prebuild();
    await steps.acquire(build);
    await steps.wait(WORK);
    await steps.complete(build);
  });
  expect(moved).toEqual({ "waited workspace_build start prebuild": 1, "took success": 1 });
});

test("a job runs from when a worker takes it until it ends, also while it is canceled", async () => {
  const { steps } = stage.simulation;
  let build: Build | undefined;
  expect(
    await movedBy(async () => {
      build = await steps.firstBuild();
    }),
  ).toEqual({});
  if (!build) throw new Error("no build");
  const running = build;
  expect(await movedBy(() => steps.acquire(running))).toEqual({
    "waited workspace_build start initiator": 1,
    current: 1,
  });
  expect(stage.scrape.series.get('firstlight_in_flight{kind="job"}')).toBe(1);
  expect(await movedBy(() => steps.wait(WORK))).toEqual({});
  expect(await movedBy(() => steps.cancel(running))).toEqual({});
  expect(await movedBy(() => steps.fail(running))).toEqual({ "took failed": 1, current: -1 });
  expect(stage.scrape.series.get('firstlight_in_flight{kind="job"}')).toBe(0);
});

test("a payload that can not be built: upstream observes nothing, here it waited and failed", async () => {
  expect(await movedBy(() => stage.simulation.workflows.acquireFails())).toEqual({
    "waited workspace_build start initiator": 1,
    "took failed": 1,
  });
});

test("what no worker had has neither waited for one nor run: reaped, canceled in the queue, deleted as an orphan", async () => {
  const { workflows } = stage.simulation;
  expect(await movedBy(() => workflows.reapPending())).toEqual({});
  expect(await movedBy(() => workflows.cancelPending())).toEqual({});
  const { workspace } = await workflows.createRegular();
  await movedBy(() => workflows.stop({ workspace: workspace.id }));
  expect(await movedBy(() => workflows.orphanDelete({ workspace: workspace.id }))).toEqual({});
});

test("a job that hung, and was ended by the reaper, ran until then", async () => {
  expect(await movedBy(() => stage.simulation.workflows.reapHung())).toEqual({
    "waited workspace_build start initiator": 1,
    "took failed": 1,
  });
});

test.each([
  ["created_at", 0.001],
  ["created_at - interval '3 s'", 0.001],
  ["created_at + interval '1 ms'", 0.001],
  ["created_at + interval '1001 us'", 0.001_001],
  ["created_at + interval '7 s'", 7],
])("taken at %s it waited %d s", async (startedAt, seconds) => {
  const { steps } = stage.simulation;
  const build = await steps.firstBuild();
  const more = await waited(() =>
    stage.client.query(
      `update provisioner_jobs set started_at = ${startedAt}, updated_at = ${startedAt}, worker_id = gen_random_uuid() where id = $1`,
      [build.job.id],
    ),
  );
  expect(more).toBeCloseTo(seconds, 7);
  await stage.run(() => steps.complete(build));
});

test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
  const ledger = await stage.finish();
  expect([...divergentBesideStarts(ledger)]).toEqual([]);
  expect(ledger.ran.size).toBeGreaterThan(2);
  expect([...ledger.running]).toEqual([]);
});
