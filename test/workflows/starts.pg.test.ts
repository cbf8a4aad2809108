// Starts: one sample for each build whose agents are all ready, or have failed to be, and only one. Upstream's cases
// (coderd/agentapi/lifecycle_test.go: TestUpdateLifecycle; TestGetWorkspaceBuildMetricsByResourceID), and those that it lacks.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Agent, Build } from "../../src/demo/coder/model.ts";
import { must } from "../../src/errors.ts";
import { recount } from "../support/recount.ts";
import { type Scrape, byLabels, valueOf } from "../support/scrape.ts";
import { type Stage, openStage } from "./support/stage.ts";

const NAME = "coderd_template_workspace_build_duration_seconds";

let stage: Stage;
beforeAll(async () => {
  // While an agent starts once more the tables do not say that it ever was ready.
  stage = await openStage({ seed: 9, agrees: "ids", skewMs: 0, agentsOn: "all" });
});
afterAll(async () => stage[Symbol.asyncDispose]());

/** `status is_prebuild` → how many, and how long in all. */
function samplesOf(scrape: Scrape): Map<string, { count: number; micros: number }> {
  const samples = new Map<string, { count: number; micros: number }>();
  const counts = byLabels(scrape, `${NAME}_count`);
  for (const [labels, seconds] of byLabels(scrape, `${NAME}_sum`)) {
    const key = (JSON.parse(labels) as string[]).slice(3).join(" ");
    const { count, micros } = samples.get(key) ?? { count: 0, micros: 0 };
    const more = must(counts.get(labels), "a sum without its count");
    samples.set(key, { count: count + more, micros: micros + Math.round(seconds * 1e6) });
  }
  return samples;
}

/** The starts that came to an end while this ran, as `status is_prebuild seconds`. */
async function starts(work: () => Promise<unknown>): Promise<readonly string[]> {
  const before = samplesOf(stage.scrape);
  await stage.run(work);
  return [...samplesOf(stage.scrape)].flatMap(([key, { count, micros }]) => {
    const was = before.get(key) ?? { count: 0, micros: 0 };
    if (count === was.count) return [];
    expect(count - was.count).toBe(1);
    return [`${key} ${(micros - was.micros) / SECOND}`];
  });
}

const listed = (): number => valueOf(stage.scrape, 'firstlight_divergent_ids{kind="ready"}');
const waiting = (): number => valueOf(stage.scrape, 'firstlight_in_flight{kind="start"}');

/** Built, its agents connected; none has told how its start goes. All of that is visible. */
async function running(begin: () => Promise<Build>): Promise<Build> {
  const { steps } = stage.simulation;
  const { result } = await stage.run(async () => {
    const build = await begin();
    await steps.wait(5 * SECOND);
    await steps.acquire(build);
    await steps.wait(20 * SECOND);
    await steps.complete(build);
    await steps.wait(5 * SECOND);
    for (const agent of build.agents) await steps.connect(agent);
    return build;
  });
  return result;
}

const first = async (template: string): Promise<Build> =>
  running(() =>
    stage.simulation.steps.firstBuild({ template: stage.template(template).id, preset: null }),
  );

async function readyAll({ agents }: Build): Promise<void> {
  for (const agent of agents) if (agent.parent === null) await report(agent, "ready", 60);
}

/** So many seconds after its build was created, by the agent's clock. */
const report = (agent: Agent | undefined, state: string, seconds: number): Promise<void> => {
  const { createdAt } = must(agent, "an agent").build;
  return stage.simulation.steps.report(must(agent, "an agent"), state, {
    clock: createdAt + seconds * SECOND,
  });
};

describe("TestUpdateLifecycle", () => {
  test("OKReady: built at 00:00:00, ready at 00:01:30: 90 s exactly", async () => {
    expect(await starts(() => first("docker"))).toEqual([]);
    const build = await first("docker");
    const [agent] = build.agents;
    expect(await starts(() => report(agent, "starting", 40))).toEqual([]);
    expect(await starts(() => report(agent, "ready", 90))).toEqual(["success false 90"]);
    // Without anything divergent the recount is the same in every label and bucket.
    const { startDuration } = await recount(stage.client);
    expect(Object.fromEntries(startDuration)).toEqual({
      '["docker","coder","start","success","false"]': {
        count: 1,
        sum: 90 * SECOND,
        buckets: [0, 0, 0, 0, 1, 1, 1, 1],
      },
    });
  });

  test("not all agents are ready: none; when the last one is, the latest of their times", async () => {
    const { agents } = await first("kubernetes");
    const before = waiting();
    expect(await starts(() => report(agents[0], "ready", 95))).toEqual([]);
    expect(waiting()).toBe(before);
    expect(await starts(() => report(agents[1], "ready", 80))).toEqual(["success false 95"]);
    expect(waiting()).toBe(before - 1);
  });

  test("a prebuild: is_prebuild is true; of its claim, false", async () => {
    const { steps } = stage.simulation;
    const prebuild = await running(() => steps.prebuild());
    expect(await starts(() => readyAll(prebuild))).toEqual(["success true 60"]);
    const workspace = prebuild.workspace.id;
    const claim = await running(() => steps.claim({ workspace }));
    expect(await starts(() => readyAll(claim))).toEqual(["success false 60"]);
  });

  test.each([
    ["start_error", "error"],
    ["start_timeout", "timeout"],
  ])("%s: status %s", async (state, status) => {
    const { agents } = await first("docker");
    expect(await starts(() => report(agents[0], state, 70))).toEqual([`${status} false 70`]);
  });

  test("a sub-agent: none", async () => {
    const { agents } = await first("devcontainer");
    const [parent, ...children] = agents;
    expect(children.length).toBeGreaterThan(0);
    expect(await starts(() => report(children[0], "ready", 50))).toEqual([]);
    expect(await starts(() => report(parent, "ready", 60))).toEqual(["success false 60"]);
  });

  test("AllStates: at most one", async () => {
    const { agents } = await first("docker");
    const states = ["starting", "start_timeout", "start_error", "ready", "shutting_down", "off"];
    const told = await starts(async () => {
      for (const [n, state] of states.entries()) await report(agents[0], state, 50 + n);
    });
    expect(told).toEqual(["timeout false 51"]);
  });
});

test("TestGetWorkspaceBuildMetricsByResourceID, SubAgentExcluded: one that is ready an hour later is ignored", async () => {
  const { agents } = await first("devcontainer");
  const [parent, child] = agents;
  expect(await starts(() => report(parent, "ready", 60))).toEqual(["success false 60"]);
  const before = listed();
  expect(await starts(() => report(child, "ready", 3_660))).toEqual([]);
  expect(listed()).toBe(before);
});

describe("what upstream lacks", () => {
  test("two agents, one never ready: none, and it waits", async () => {
    const before = waiting();
    const { agents } = await first("kubernetes");
    expect(await starts(() => report(agents[0], "ready", 60))).toEqual([]);
    expect(await starts(() => report(agents[1], "starting", 70))).toEqual([]);
    expect(waiting()).toBe(before + 1);
  });

  test("an agent whose process starts once more is no second sample, and listed for the time it has now", async () => {
    const { agents } = await first("docker");
    expect(await starts(() => report(agents[0], "ready", 60))).toEqual(["success false 60"]);
    const before = listed();
    expect(await starts(() => report(agents[0], "starting", 7_000))).toEqual([]);
    expect(listed()).toBe(before + 1);
    expect(await starts(() => report(agents[0], "ready", 7_200))).toEqual([]);
    expect(listed()).toBe(before + 1);
  });

  test("a restart within one burst, too", async () => {
    const { agents } = await first("docker");
    const before = listed();
    const told = await starts(async () => {
      await report(agents[0], "ready", 60);
      await report(agents[0], "starting", 7_000);
      await report(agents[0], "ready", 7_200);
    });
    expect(told).toEqual(["success false 60"]);
    expect(listed()).toBe(before + 1);
  });

  test("a start that timed out, and is over after all, stays what it was counted as; listed", async () => {
    const { agents } = await first("docker");
    expect(await starts(() => report(agents[0], "start_timeout", 60))).toEqual([
      "timeout false 60",
    ]);
    const before = [listed(), waiting()] as const;
    expect(await starts(() => report(agents[0], "ready", 600))).toEqual([]);
    expect([listed(), waiting()]).toEqual([before[0] + 1, before[1] - 1]);
  });

  test("a failed start whose workspace is stopped stays a failed one, and is not listed", async () => {
    const { agents } = await first("docker");
    expect(await starts(() => report(agents[0], "start_error", 60))).toEqual(["error false 60"]);
    const before = listed();
    const { steps } = stage.simulation;
    const told = await starts(() => steps.shutDown(must(agents[0], "an agent")));
    expect([told, listed()]).toEqual([[], before]);
  });

  test("a stop is no start, though an older Coder makes agents for it", async () => {
    const build = await first("docker");
    await starts(() => report(build.agents[0], "ready", 60));
    const before = waiting();
    const { id: workspace } = build.workspace;
    const { agents } = await running(() =>
      stage.simulation.steps.laterBuild({ workspace, transition: "stop" }),
    );
    expect([agents.length, waiting()]).toEqual([1, before]);
  });
});

test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
  const { ready } = await stage.finish();
  expect(ready.size).toBeGreaterThan(10);
});
