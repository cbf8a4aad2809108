// What else touches the followed rows, and the names they are looked up by: none of it is a fact.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Build } from "../../src/demo/coder/model.ts";
import { must } from "../../src/errors.ts";
import { divergentBesideStarts } from "../support/ledger.ts";
import { byLabels } from "../support/scrape.ts";
import { START_AT, type Stage, connected, openStage, succeeded } from "./support/stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ seed: 7, agrees: "sums" });
  await stage.moved(() => stage.simulation.run({ workflows: 25 }));
});
afterAll(async () => stage[Symbol.asyncDispose]());

async function running(): Promise<Build> {
  const { result } = await stage.run(() =>
    stage.simulation.workflows.createRegular({
      template:
        stage.simulation.deployment.templates.find(
          ({ version, deleted }) => !deleted && version.agents.length > 0,
        )?.id ?? "",
    }),
  );
  return result;
}

function factsOf({ scrape }: Pick<Stage, "scrape">): Record<string, number> {
  return Object.fromEntries(byLabels(scrape, "firstlight_facts_total"));
}

describe("no fact", () => {
  test.each(["activityBump", "statePush"] as const)("%s", async (workflow) => {
    const { workspace } = await running();
    const facts = factsOf(stage);
    expect(
      await stage.moved(() => stage.simulation.workflows[workflow]({ workspace: workspace.id })),
    ).toEqual({});
    expect(factsOf(stage)).toEqual(facts);
  });

  test.each([
    ["quota", "update workspace_builds set daily_cost = 7 where id = $1", "id"],
    [
      "log flush: the time, then the length",
      "update provisioner_jobs set updated_at = now(), logs_length = logs_length + 100 where id = $1",
      "job",
    ],
    ["a log overflow", "update provisioner_jobs set logs_overflowed = true where id = $1", "job"],
    [
      "the flags of a build",
      "update workspace_builds set has_ai_task = true, deadline = now() where id = $1",
      "id",
    ],
  ] as const)("%s", async (_what, sql, of) => {
    const build = await running();
    const facts = factsOf(stage);
    const id = of === "id" ? build.id : build.job.id;
    expect(await stage.moved(() => stage.client.query(sql, [id]))).toEqual({});
    expect(factsOf(stage)).toEqual(facts);
  });

  test.each([1, 250])("heartbeats, %i to a transaction", async (perTransaction) => {
    const agents = stage.simulation
      .connectedAgents()
      .filter(({ build }) => !build.workspace.deleted);
    const facts = factsOf(stage);
    const changes = stage.scrape.series.get(
      'firstlight_changes_total{table="workspace_agents",op="update"}',
    );
    expect(
      await stage.moved(() =>
        stage.simulation.heartbeats({ agents, count: 1_000, perTransaction }),
      ),
    ).toEqual({});
    expect(factsOf(stage)).toEqual(facts);
    expect(
      stage.scrape.series.get('firstlight_changes_total{table="workspace_agents",op="update"}'),
    ).toBe((changes ?? 0) + 1_000);
  });
});

describe.each([
  ["long ago", START_AT],
  // What completed about when its transaction committed is looked at once more.
  ["just now", Date.now() * 1000],
])("a migration over all rows, of what happened %s, is no fact", (_when, startAt) => {
  let old: Stage;
  beforeAll(async () => {
    // Before v2.34 nobody soft-deleted agents, which is what the first migration makes up for.
    old = await openStage({ seed: 9, agrees: "sums", startAt, softDelete: false });
    await old.moved(() => old.simulation.run({ workflows: 40 }));
  });
  afterAll(async () => old[Symbol.asyncDispose]());

  test.each([
    ["softDeleteBurst", "workspace_agents"],
    ["rewriteBurst", "provisioner_jobs"],
    ["rewriteBurst", "workspace_builds"],
  ] as const)("%s of %s", async (burst, table) => {
    const updates = `firstlight_changes_total{table="${table}",op="update"}`;
    await old.client.query("update workspace_builds set has_external_agent = null");
    await old.moved(async () => undefined);
    const [facts, before] = [factsOf(old), old.scrape.series.get(updates) ?? 0];
    expect(await old.moved(() => old.simulation.workflows[burst]())).toEqual({});
    expect(factsOf(old)).toEqual(facts);
    expect(old.scrape.series.get(updates)).toBeGreaterThan(before + 10);
  });

  test("by id, the ledger equals the tables and what was meant to happen", async () => {
    expect([...divergentBesideStarts(await old.finish())]).toEqual([]);
  });
});

describe("names", () => {
  test("a workspace is renamed: old series stay, its next agents get the new name", async () => {
    const { workspace } = await running();
    const before = workspace.name;
    const { workflows } = stage.simulation;
    expect(await stage.moved(() => workflows.renameWorkspace({ workspace: workspace.id }))).toEqual(
      {},
    );
    expect(workspace.name).not.toBe(before);
    const { moved, result: build } = await stage.run(() =>
      workflows.update({ workspace: workspace.id }),
    );
    expect(moved).toEqual(connected(build.agents));
    expect(stage.born.join("\n")).toContain(`|${workspace.name}`);
  });

  test("renamed between birth and connection: the agent keeps the name that it was born with", async () => {
    const { steps, workflows } = stage.simulation;
    const template = stage.simulation.deployment.templates.find(
      ({ version }) => version.agents.length === 1,
    );
    const { result: build } = await stage.run(async () => {
      const first = await steps.firstBuild({ template: template?.id ?? "", preset: null });
      await steps.acquire(first);
      await steps.complete(first);
      return first;
    });
    const agent = must(build.agents[0], "an agent");
    const { workspace } = build;
    const names = `${workspace.template.name}|${agent.name}|${workspace.owner.username}|${workspace.name}`;
    await stage.moved(() => workflows.renameWorkspace({ workspace: workspace.id }));
    await stage.moved(() => workflows.renameUser({ user: workspace.owner.id }));
    await steps.wait(30_000_000);
    const moved = await stage.moved(() => steps.connect(agent));
    expect(Object.keys(moved)).toEqual([`connections ${names}`, `seconds ${names}`]);
  });

  test("a user is renamed: old series stay, the next workspace gets the new name", async () => {
    const { workspace } = await running();
    const { owner } = workspace;
    const before = owner.username;
    const { workflows } = stage.simulation;
    expect(await stage.moved(() => workflows.renameUser({ user: owner.id }))).toEqual({});
    expect(owner.username).not.toBe(before);
    const { moved, result: build } = await stage.run(() =>
      workflows.createRegular({ owner: owner.id }),
    );
    expect(moved).toEqual(succeeded(build));
  });
});

test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
  expect([...divergentBesideStarts(await stage.finish())]).toEqual([]);
});
