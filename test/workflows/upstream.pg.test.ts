// Coder's own test cases for these metrics, made again (coderd/prometheusmetrics, PR #21281), with what a ledger makes of them.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { PREBUILDS_USER } from "../../src/change/row.ts";
import type { Build } from "../../src/demo/coder/model.ts";
import { must } from "../../src/errors.ts";
import { byLabels, sumOf } from "../support/scrape.ts";
import { type Moved, type Stage, openStage } from "./support/stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ seed: 8, agrees: "sums" });
});
afterAll(async () => stage[Symbol.asyncDispose]());

/** Longer than the clocks of two replicas can differ. */
const WORK = 20 * SECOND;

const succeeds = async (): Promise<Build> => {
  const { steps } = stage.simulation;
  const build = await steps.firstBuild();
  await steps.acquire(build);
  await steps.wait(WORK);
  await steps.complete(build);
  return build;
};
const fails = async (): Promise<void> => {
  const { steps } = stage.simulation;
  const build = await steps.firstBuild();
  await steps.acquire(build);
  await steps.fail(build);
};
/** As upstream's fixture does it: acquired, canceled, completed without an error. */
const canceled = async (): Promise<void> => {
  const { steps } = stage.simulation;
  const build = await steps.firstBuild();
  await steps.acquire(build);
  await steps.cancel(build);
  await steps.complete(build);
};
const runs = async (): Promise<void> => {
  const { steps } = stage.simulation;
  await steps.acquire(await steps.firstBuild());
};
const prebuilds = async (): Promise<void> => {
  const { steps } = stage.simulation;
  const build = await steps.prebuild();
  await steps.acquire(build);
  await steps.wait(WORK);
  await steps.complete(build);
};
const succeedsAndIsDeleted = async (): Promise<void> => {
  const { workspace } = await succeeds();
  await stage.simulation.workflows.removeRunning({ workspace: workspace.id });
};

/** Sums over the label sets; templates are picked at random, upstream too. */
function totals(moved: Moved): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [name, by] of Object.entries(moved)) {
    const [family = ""] = name.split(" ", 1);
    const key =
      family === "outcomes"
        ? `${name.split("|").at(-1)}`
        : name.startsWith("in flight")
          ? "in flight"
          : family;
    sums[key] = (sums[key] ?? 0) + by;
  }
  return sums;
}

async function inOrder(workflows: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const workflow of workflows) await workflow();
}

describe("TestWorkspaceCreationTotal", () => {
  test("None", async () => {
    expect(await stage.moved(async () => undefined)).toEqual({});
  });

  test("Multiple: 1 canceled, 2 failed, 3 succeeded, 1 running", async () => {
    const moved = await stage.moved(() =>
      inOrder([canceled, fails, succeeds, succeeds, fails, succeeds, runs]),
    );
    expect(totals(moved)).toEqual({
      attempts: 7,
      success: 3,
      created: 3,
      failure: 2,
      failures: 2,
      canceled: 1,
      "in flight": 1,
    });
  });

  test("MultipleWithPrebuild: the prebuild is not counted but by the pool", async () => {
    const moved = await stage.moved(() => inOrder([canceled, fails, succeeds, prebuilds, runs]));
    expect(totals(moved)).toEqual({
      attempts: 4,
      success: 1,
      created: 1,
      failure: 1,
      failures: 1,
      canceled: 1,
      "in flight": 1,
      prebuilds: 1,
    });
  });

  test("MultipleWithDeleted: the deleted workspace stays counted", async () => {
    const moved = await stage.moved(() =>
      inOrder([canceled, fails, succeeds, succeedsAndIsDeleted, runs]),
    );
    expect(totals(moved)).toEqual({
      attempts: 5,
      success: 2,
      created: 2,
      failure: 1,
      failures: 1,
      canceled: 1,
      "in flight": 1,
    });
  });
});

/** The sum of a metric's values by its first label. */
function byStatus(metric: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [labels, value] of byLabels(stage.scrape, metric)) {
    const [status = ""] = JSON.parse(labels) as string[];
    sums.set(status, (sums.get(status) ?? 0) + value);
  }
  return sums;
}

/** Both metrics of the latest builds. */
const latestBuilds = () =>
  ["coderd_api_workspace_latest_build", "coderd_workspace_latest_build_status"].map(byStatus);

/** By how much the numbers of workspaces move, by the status of their latest build. */
async function latest(work: () => Promise<unknown>): Promise<Record<string, unknown>> {
  const before = latestBuilds();
  await stage.run(work);
  // What no workspace has any more is absent from one of them.
  const moved = latestBuilds().map((after, index) => {
    const was = before[index] ?? new Map<string, number>();
    const by = [...new Set([...was.keys(), ...after.keys()])].map(
      (status) => [status, (after.get(status) ?? 0) - (was.get(status) ?? 0)] as const,
    );
    return Object.fromEntries(by.filter(([, change]) => change !== 0));
  });
  expect(moved[1]).toEqual(moved[0]);
  return moved[0] ?? {};
}

describe("TestWorkspaceLatestBuildTotals and …Statuses", () => {
  test("None", async () => {
    expect(await latest(async () => undefined)).toEqual({});
  });

  test("Multiple: 1 canceled, 2 failed, 3 succeeded, 1 running", async () => {
    expect(
      await latest(() => inOrder([canceled, fails, succeeds, succeeds, fails, succeeds, runs])),
    ).toEqual({ canceled: 1, failed: 2, succeeded: 3, running: 1 });
  });

  test("MultipleWithDeleted: the deleted workspace is absent", async () => {
    expect(
      await latest(() => inOrder([canceled, fails, succeeds, succeedsAndIsDeleted, runs])),
    ).toEqual({ canceled: 1, failed: 1, succeeded: 1, running: 1 });
  });

  test("a workspace is in the state of its latest build, also while that is asked to stop", async () => {
    const { steps } = stage.simulation;
    const { result: build } = await stage.run(() => steps.firstBuild());
    expect(await latest(() => steps.acquire(build))).toEqual({ pending: -1, running: 1 });
    expect(await latest(() => steps.cancel(build))).toEqual({ running: -1, canceling: 1 });
    expect(await latest(() => steps.fail(build, { error: "canceled" }))).toEqual({
      canceling: -1,
      failed: 1,
    });
    const next = await stage.run(() =>
      steps.laterBuild({ workspace: build.workspace.id, transition: "start" }),
    );
    expect(await latest(() => steps.acquire(next.result))).toEqual({ pending: -1, running: 1 });
  });
});

test("TestAgents, today: an agent of a running workspace is up, connected or not, until it is stopped", async () => {
  const up = (): number => sumOf(stage.scrape, "coderd_agents_up");
  const { steps } = stage.simulation;
  const before = up();
  const { build } = await agentOf("docker");
  expect(up() - before).toBe(build.agents.length);
  expect(build.agents.length).toBeGreaterThan(0);
  await stage.run(() => steps.laterBuild({ workspace: build.workspace.id, transition: "stop" }));
  expect(up()).toBe(before);
});

async function agentOf(template: string) {
  const { steps } = stage.simulation;
  const { result } = await stage.run(async () => {
    const build = await steps.firstBuild({ template: stage.template(template).id, preset: null });
    await steps.acquire(build);
    await steps.complete(build);
    return build;
  });
  return must(result.agents[0], "an agent");
}

describe("TestAgents, as of v2.33", () => {
  test("connected 45 s after its creation: one sample, sum 45", async () => {
    const agent = await agentOf("docker");
    const { owner, name } = agent.build.workspace;
    const moved = await stage.moved(() =>
      stage.simulation.steps.connect(agent, { clock: agent.createdAt + 45 * SECOND }),
    );
    expect(moved).toEqual({
      [`connections docker|main|${owner.username}|${name}`]: 1,
      [`seconds docker|main|${owner.username}|${name}`]: 45,
    });
  });

  test("created a minute in the future: no sample, one warning", async () => {
    const agent = await agentOf("docker");
    const moved = await stage.moved(() =>
      stage.simulation.steps.connect(agent, { clock: agent.createdAt - 60 * SECOND }),
    );
    expect(moved).toEqual({ "dropped negative": 1 });
    const warnings = stage.log.filter((line) => line.includes(agent.id));
    expect(warnings.map((line) => JSON.parse(line))).toMatchObject([
      {
        level: "warn",
        message: "negative agent first connection duration (possible clock skew); dropping sample",
        seconds: -60,
      },
    ]);
  });
});

/** Builds of any kind, also of kinds that Coder's code does not make. Values are ours: no quoting is needed. */
async function insertBuild(row: {
  number: number;
  transition: string;
  initiator: string;
  preset: boolean;
}): Promise<string> {
  const { number, transition, initiator, preset } = row;
  const { rows } = await stage.client.query<{ job: string }>(
    `with template as (
       select t.*, p.id as preset from templates t
       join template_version_presets p on p.template_version_id = t.active_version_id
       where t.name = 'batch'
     ), workspace as (
       insert into workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name, automatic_updates)
       select gen_random_uuid(), now(), now(), u.id, t.organization_id, t.id, 'made-' || gen_random_uuid(), 'never'
       from template t, (
         select id from users where is_system = ${initiator === PREBUILDS_USER} limit 1
       ) u returning id
     ), job as (
       insert into provisioner_jobs (id, created_at, updated_at, organization_id, initiator_id, provisioner, storage_method, file_id, type, input)
       select gen_random_uuid(), now(), now(), t.organization_id, '${initiator}', 'echo', 'file', gen_random_uuid(), 'workspace_build', '{}'
       from template t returning id
     ), build as (
       insert into workspace_builds (id, created_at, updated_at, workspace_id, template_version_id, build_number, transition, initiator_id, job_id, template_version_preset_id)
       select gen_random_uuid(), now(), now(), workspace.id, t.active_version_id, ${number}, '${transition}', '${initiator}', job.id, ${preset ? "t.preset" : "null"}
       from template t, workspace, job returning job_id
     ) select job_id as job from build`,
  );
  return must(rows[0], "a build").job;
}

/** As Coder ends one: what a delete has deleted is gone in the same transaction. */
async function endBuild(
  job: string,
  { error, deletes }: { readonly error: string | null; readonly deletes: boolean },
): Promise<void> {
  const { client } = stage;
  await client.query("begin");
  await client.query(
    "update provisioner_jobs set completed_at = now(), worker_id = gen_random_uuid(), error = $2 where id = $1",
    [job, error],
  );
  if (deletes && error === null)
    await client.query(
      "update workspaces set deleted = true from workspace_builds where workspace_id = workspaces.id and job_id = $1",
      [job],
    );
  await client.query("commit");
}

describe("the table of PR #21281", () => {
  const user = "11111111-1111-4111-8111-111111111111";

  test.each([
    [
      "build 1, start, a user, no preset",
      { number: 1, transition: "start", initiator: user, preset: false },
      "coder|batch|",
    ],
    [
      "build 1, start, a user, a preset",
      { number: 1, transition: "start", initiator: user, preset: true },
      "coder|batch|small",
    ],
    ["build 2", { number: 2, transition: "start", initiator: user, preset: false }, null],
    ["a stop", { number: 1, transition: "stop", initiator: user, preset: false }, null],
    ["a delete", { number: 1, transition: "delete", initiator: user, preset: false }, null],
    [
      "the prebuilds user",
      { number: 1, transition: "start", initiator: PREBUILDS_USER, preset: true },
      null,
    ],
  ])("%s", async (_what, row, labels) => {
    // A second build may be the first to succeed.
    const maker = labels ?? (row.number === 2 ? "coder|batch|" : null);
    const created: Moved = maker === null ? {} : { [`created ${maker}`]: 1 };
    const pool = (what: string): Moved =>
      row.initiator === PREBUILDS_USER ? { [`prebuilds ${what} batch|small|coder`]: 1 } : {};
    const deletes = row.transition === "delete";
    for (const error of [null, "terraform failed"]) {
      const { result: job, moved } = await stage.run(() => insertBuild(row));
      expect(moved).toEqual(
        labels === null
          ? pool("created")
          : { [`attempts ${labels}`]: 1, [`in flight ${labels}`]: 1 },
      );
      const end = await stage.moved(() => endBuild(job, { error, deletes }));
      const status = error === null ? "success" : "failure";
      expect(end).toEqual(
        labels === null
          ? error === null
            ? created
            : pool("failed")
          : {
              ...(error === null && created),
              [`outcomes ${labels}|${status}`]: 1,
              [`in flight ${labels}`]: -1,
              ...(error !== null && { [`failures ${labels}|provisioner|other`]: 1 }),
            },
      );
    }
  });
});
