// Prebuilt workspaces: builds by the prebuilds user are no attempts, and neither is a claim, but the pool's own counters know
// them; their agents connect, and those of a claimed workspace do so twice, under the names of their time.

import { afterAll, beforeAll, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { PREBUILDS_USER } from "../../src/change/row.ts";
import { isFirstBuild } from "../../src/derive/fact.ts";
import type { Workspace } from "../../src/demo/coder/model.ts";
import { must } from "../../src/errors.ts";
import { type Moved, type Stage, all, connected, ofPool, openStage } from "./support/stage.ts";
import { divergentBesideStarts } from "../support/ledger.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ seed: 5, agrees: "sums" });
});
afterAll(async () => stage[Symbol.asyncDispose]());

/** A prebuilt workspace that is running, its agents connected as far as they do. */
async function prebuilt(): Promise<Workspace> {
  const { result } = await stage.run(() => stage.simulation.workflows.fillPool({ count: 1 }));
  return must(result[0], "a prebuild").workspace;
}

/** As `Moved`, added up over people and workspaces. */
function byAgent(moved: Moved): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [name, by] of Object.entries(moved)) {
    const short = name.split("|").slice(0, 2).join("|");
    sums[short] = Math.round(((sums[short] ?? 0) + by) * 1e6) / 1e6;
  }
  return sums;
}

test("a pool is filled: no attempt; the first connections are those of the prebuilds user", async () => {
  const { moved, result: builds } = await stage.run(() =>
    stage.simulation.workflows.fillPool({ count: 3 }),
  );
  expect(builds).toHaveLength(3);
  const connections = connected(builds.flatMap(({ agents }) => agents));
  expect(moved).toEqual(all(ofPool("created", builds), connections));
  const names = Object.keys(moved).filter((name) => name.startsWith("connections"));
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) expect(name).toMatch(/\|prebuilds\|prebuild-[0-9a-f]{12}$/);
});

test("a prebuild that fails: no attempt, no failure of one; the pool's own", async () => {
  const { moved, result } = await stage.run(() => stage.simulation.workflows.prebuildFails());
  expect(moved).toEqual(all(ofPool("created", [result]), ofPool("failed", [result])));
});

test("a prebuild is created when it is begun; nothing is attempted and nothing is in flight", async () => {
  const { steps } = stage.simulation;
  const { result: build, moved } = await stage.run(() => steps.prebuild());
  expect(moved).toEqual(ofPool("created", [build]));
  expect(await stage.moved(() => steps.acquire(build))).toEqual({});
  await steps.wait(20 * SECOND);
  expect(await stage.moved(() => steps.complete(build))).toEqual({});
});

test("deletion of a prebuild, which has the stage of a creation: nothing", async () => {
  const { id } = await prebuilt();
  expect(
    await stage.moved(() => stage.simulation.workflows.deletePrebuild({ workspace: id })),
  ).toEqual({});
});

test("stale pending prebuilds are canceled and orphaned in one transaction: created, not failed", async () => {
  const { moved, result } = await stage.run(() =>
    stage.simulation.workflows.cancelStalePrebuilds(),
  );
  expect(moved).toEqual(
    ofPool(
      "created",
      result.map(({ workspace }) => workspace.builds[0]),
    ),
  );
});

test("a claim: no attempt, and a second first connection under the new names", async () => {
  const { steps } = stage.simulation;
  const { result: build } = await stage.run(async () => {
    const first = await steps.prebuild();
    await steps.acquire(first);
    await steps.wait(20 * SECOND);
    await steps.complete(first);
    return first;
  });
  const { workspace, agents } = build;
  await steps.wait(20 * SECOND);
  const before = await stage.moved(async () => {
    for (const agent of agents) await steps.connect(agent);
  });
  expect(before).toEqual(connected(agents));
  expect(Object.keys(before).join()).toContain(`|prebuilds|${workspace.name}`);
  const was = connected(agents);

  const { result: claim, moved } = await stage.run(() =>
    stage.simulation.workflows.claim({ workspace: workspace.id }),
  );
  expect(claim.stage).toBe(2);
  expect(claim.initiator).not.toBe(PREBUILDS_USER);
  expect(moved).toEqual(all(ofPool("claimed", [build]), connected(claim.agents)));
  expect(Object.keys(moved).join()).toContain(`|${workspace.owner.username}|${workspace.name}`);
  // The first sample stays where it was counted.
  for (const [name, by] of Object.entries(was)) {
    if (!name.startsWith("connections")) continue;
    const [template, agent, username, workspaceName] = name.slice("connections ".length).split("|");
    expect(stage.scrape.text).toContain(
      `\ncoderd_agents_first_connection_seconds_count{template_name="${template}",agent_name="${agent}",username="${username}",workspace_name="${workspaceName}"} ${by}\n`,
    );
  }
});

test("a claim whose build fails: no attempt and no failure, but a claim: the workspace is the user's now", async () => {
  const workspace = await prebuilt();
  expect(
    await stage.moved(() => stage.simulation.workflows.claimFails({ workspace: workspace.id })),
  ).toEqual(ofPool("claimed", [workspace.builds[0]]));
  expect(workspace.owner.id).not.toBe(PREBUILDS_USER);
});

test("an admin restarts an unclaimed prebuild, then it is claimed: one claim, two more rounds of connections", async () => {
  const workspace = await prebuilt();
  const { moved } = await stage.run(() =>
    stage.simulation.workflows.adminRestartsThenClaim({ workspace: workspace.id }),
  );
  // Names are read while the workflow goes on, so between restart and claim only the sums are certain.
  const [, restarted, claimed] = workspace.builds;
  const agents = [...(restarted?.agents ?? []), ...(claimed?.agents ?? [])];
  expect(workspace.builds).toHaveLength(3);
  expect(byAgent(moved)).toEqual(
    byAgent(all(ofPool("claimed", [workspace.builds[0]]), connected(agents))),
  );
});

test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
  const ledger = await stage.finish();
  const { attempted } = ledger;
  expect([...divergentBesideStarts(ledger)]).toEqual([]);
  expect([...attempted.values()].filter(({ traits }) => isFirstBuild(traits))).toEqual([]);
});
