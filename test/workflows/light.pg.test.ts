// Time to first light: each agent that a start brings is one sample of each phase, by what the build was, and only once.
// Every run also compares all labels, counts, sums and buckets with the recount.

import { afterAll, beforeAll, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Agent, Build } from "../../src/demo/coder/model.ts";
import { must } from "../../src/errors.ts";
import { type Scrape, byLabels, valueOf } from "../support/scrape.ts";
import { type Stage, openStage } from "./support/stage.ts";

const NAME = "firstlight_time_to_first_light_seconds";
const PHASES = ["queue", "provision", "connect", "total"] as const;

let stage: Stage;
beforeAll(async () => {
  // One clock, so that nothing is dropped but what a test makes so.
  stage = await openStage({ seed: 6, agrees: "sums", skewMs: 0 });
});
afterAll(async () => stage[Symbol.asyncDispose]());

type Samples = Readonly<Record<string, { readonly count: number; readonly micros: number }>>;

/** `type phase` → how many, and how long in all. */
function samplesOf(scrape: Scrape): Map<string, { count: number; micros: number }> {
  const samples = new Map<string, { count: number; micros: number }>();
  const counts = byLabels(scrape, `${NAME}_count`);
  for (const [labels, seconds] of byLabels(scrape, `${NAME}_sum`)) {
    const key = (JSON.parse(labels) as string[]).slice(2).join(" ");
    const { count, micros } = samples.get(key) ?? { count: 0, micros: 0 };
    const more = must(counts.get(labels), "a sum without its count");
    samples.set(key, { count: count + more, micros: micros + Math.round(seconds * 1e6) });
  }
  return samples;
}

/** What came to light while this ran. */
async function lights<T>(work: () => Promise<T>): Promise<{ samples: Samples; result: T }> {
  const before = samplesOf(stage.scrape);
  const { result } = await stage.run(work);
  const moved = [...samplesOf(stage.scrape)].flatMap(([key, { count, micros }]) => {
    const was = before.get(key) ?? { count: 0, micros: 0 };
    if (count === was.count) return [];
    return [[key, { count: count - was.count, micros: micros - was.micros }] as const];
  });
  return { samples: Object.fromEntries(moved), result };
}

/** What these agents must have brought, of which sub-agents bring nothing. */
function expected(type: string, agents: readonly Agent[]): Samples {
  const { ends } = stage.simulation.expected();
  const lit = agents.filter(
    ({ parent, firstConnectedAt }) => parent === null && firstConnectedAt !== null,
  );
  const ways = lit.map(({ firstConnectedAt, build }) => {
    const { completedAt } = must(ends.get(build.job.id), "its build has ended");
    const started = must(build.job.startedAt, "a provisioner had it");
    const connected = must(firstConnectedAt, "it has connected");
    return {
      queue: started - build.createdAt,
      provision: completedAt - started,
      connect: connected - completedAt,
      total: connected - build.createdAt,
    };
  });
  if (ways.length === 0) return {};
  return Object.fromEntries(
    PHASES.map((phase) => {
      const micros = ways.reduce((sum, way) => sum + way[phase], 0);
      return [`${type} ${phase}`, { count: ways.length, micros }];
    }),
  );
}

/** Its agents have not connected. */
async function built(begin: () => Promise<Build>): Promise<Build> {
  const { steps } = stage.simulation;
  const build = await begin();
  await steps.wait(5 * SECOND);
  await steps.acquire(build);
  await steps.wait(30 * SECOND);
  await steps.complete(build);
  return build;
}

async function connectAll(build: Build): Promise<readonly Agent[]> {
  await stage.simulation.steps.wait(10 * SECOND);
  for (const agent of build.agents) await stage.simulation.steps.connect(agent);
  return build.agents;
}

const first = async (template: string): Promise<Build> =>
  built(() =>
    stage.simulation.steps.firstBuild({ template: stage.template(template).id, preset: null }),
  );

test("a first build: nothing until its agent connects, then all phases at once, which add up", async () => {
  const { samples: none, result: build } = await lights(() => first("docker"));
  expect(none).toEqual({});
  const { samples, result: agents } = await lights(() => connectAll(build));
  expect(agents).toHaveLength(1);
  expect(samples).toEqual(expected("regular", agents));
  const [queue = 0, provision = 0, connect = 0, total] = PHASES.map(
    (phase) => samples[`regular ${phase}`]?.micros,
  );
  expect(queue + provision + connect).toBe(total);
});

test("an agent that disconnects, starts again and connects is no second sample", async () => {
  const build = await first("docker");
  const [agent] = (await lights(() => connectAll(build))).result;
  const { steps } = stage.simulation;
  const { samples } = await lights(async () => {
    await steps.startUp(must(agent, "an agent"));
    await steps.disconnect(must(agent, "an agent"));
    await steps.wait(60 * SECOND);
    await steps.connect(must(agent, "an agent"));
    await steps.startUp(must(agent, "an agent"));
  });
  expect(samples).toEqual({});
});

test("two agents of one build are two samples, each when it connects", async () => {
  const build = await first("kubernetes");
  expect(build.agents).toHaveLength(2);
  for (const agent of build.agents) {
    await stage.simulation.steps.wait(20 * SECOND);
    const { samples } = await lights(() => stage.simulation.steps.connect(agent));
    expect(samples).toEqual(expected("regular", [agent]));
  }
});

test("sub-agents bring none, whether declared or made while it runs", async () => {
  const build = await first("devcontainer");
  const [parent, ...children] = build.agents;
  const { steps } = stage.simulation;
  const { samples } = await lights(() => connectAll(build));
  expect(children.length).toBeGreaterThan(0);
  expect(samples).toEqual(expected("regular", [must(parent, "a parent")]));
  const { samples: none } = await lights(async () => {
    const child = await steps.insertSubAgent(must(parent, "a parent"));
    await steps.wait(10 * SECOND);
    await steps.connect(must(child, "a sub-agent"));
  });
  expect(none).toEqual({});
});

test("a restart is a regular start; its stop brings none", async () => {
  const build = await first("docker");
  await lights(() => connectAll(build));
  const { steps } = stage.simulation;
  const { id: workspace } = build.workspace;
  const { samples: none } = await lights(() =>
    built(() => steps.laterBuild({ workspace, transition: "stop" })),
  );
  expect(none).toEqual({});
  const { samples, result: agents } = await lights(async () =>
    connectAll(await built(() => steps.laterBuild({ workspace, transition: "start" }))),
  );
  expect(agents).toHaveLength(1);
  expect(samples).toEqual(expected("regular", agents));
});

test("a prebuild, then its claim: two ways to light, of their types", async () => {
  const { steps } = stage.simulation;
  const prebuild = await lights(async () => connectAll(await built(() => steps.prebuild())));
  expect(prebuild.result.length).toBeGreaterThan(0);
  expect(prebuild.samples).toEqual(expected("prebuild", prebuild.result));
  const workspace = must(prebuild.result[0], "an agent").build.workspace.id;
  const claim = await lights(async () => connectAll(await built(() => steps.claim({ workspace }))));
  expect(claim.result.length).toBeGreaterThan(0);
  expect(claim.samples).toEqual(expected("claim", claim.result));
});

test("an admin's restart of an unclaimed prebuild is a regular start", async () => {
  const { steps, workflows } = stage.simulation;
  const prebuild = await built(() => steps.prebuild());
  await lights(() => connectAll(prebuild));
  const { result: claim, samples } = await lights(() =>
    workflows.adminRestartsThenClaim({ workspace: prebuild.workspace.id }),
  );
  const [, restart] = claim.workspace.builds;
  expect(samples).toEqual({
    ...expected("regular", must(restart, "a restart").agents),
    ...expected("claim", claim.agents),
  });
});

const dropped = (): number =>
  valueOf(stage.scrape, 'firstlight_dropped_samples_total{reason="negative"}');

test("a connection before the build's end, by another clock: none of the four, dropped once", async () => {
  const build = await first("docker");
  const [agent] = build.agents;
  const before = dropped();
  const { samples } = await lights(() =>
    stage.simulation.steps.connect(must(agent, "an agent"), { clock: build.createdAt + 1 }),
  );
  expect(samples).toEqual({});
  expect(dropped() - before).toBe(1);
});

test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
  const { connected } = await stage.finish();
  const lit = [...connected.values()].filter(({ light }) => light !== null);
  expect(lit.length).toBeGreaterThan(10);
});
