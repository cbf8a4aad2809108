// The order of Coder's statements and the limits of its transactions, as a logical slot sees them.

import { expect, test } from "vitest";
import type { Build } from "../../../src/demo/coder/model.ts";
import { openStage, templateNamed } from "./support/stage.ts";
import { type Wal, listen } from "./support/wal.ts";

/** The next transactions without the optional first statement of a completion (`next_start_at`). */
async function changes(wal: Wal): Promise<string[][]> {
  return (await wal.read()).map((tx) => tx.changes.filter((change, i) => !optional(change, i)));
}

function optional(change: string, index: number): boolean {
  return index === 0 && change === "update workspaces";
}

const CREATED = ["insert workspaces", "insert provisioner_jobs", "insert workspace_builds"];
const LATER = ["insert provisioner_jobs", "insert workspace_builds"];
const COMPLETED = [
  "update provisioner_jobs",
  "update workspace_builds",
  "update workspace_builds",
  "insert workspace_resources",
];
const MACHINE = "insert workspace_resources";
const AGENT = "insert workspace_agents";
const AGENT_WRITTEN = "update workspace_agents";
const PRESET = "insert template_version_presets";
const FLAGS = "update workspace_builds";
const JOB = ["update provisioner_jobs"];

test("a create is one transaction, its acquisition one, its completion one with the agents inside", async () => {
  await using stage = await openStage();
  const { simulation } = stage;
  const wal = await listen(stage.client);
  const template = templateNamed(simulation, "devcontainer").id;
  const build = await simulation.steps.firstBuild({ template });
  await simulation.steps.acquire(build);
  const agents = await simulation.steps.complete(build);
  expect(await changes(wal)).toEqual([
    CREATED,
    JOB,
    [...COMPLETED, MACHINE, AGENT, AGENT, AGENT, FLAGS],
  ]);
  expect(agents.map((agent) => agent.parent)).toEqual([null, agents[0]?.id, agents[0]?.id]);
});

test("each word of an agent is a transaction of its own", async () => {
  await using stage = await openStage();
  const { steps } = stage.simulation;
  const build = await startedBuild(stage.simulation);
  const [agent] = build.agents;
  if (!agent) throw new Error("no agent");
  const wal = await listen(stage.client);
  await steps.connect(agent);
  await steps.heartbeat(agent);
  await steps.disconnect(agent);
  await steps.insertSubAgent(agent);
  expect(await changes(wal)).toEqual([[AGENT_WRITTEN], [AGENT_WRITTEN], [AGENT_WRITTEN], [AGENT]]);
});

test("a failure is one statement on its own; the state follows in another transaction", async () => {
  await using stage = await openStage();
  const wal = await listen(stage.client);
  const seen = new Set<string>();
  for (let i = 0; i < 8; i += 1) {
    const build = await stage.simulation.steps.firstBuild();
    await stage.simulation.steps.acquire(build);
    await wal.read();
    await stage.simulation.steps.fail(build);
    const [failure, ...rest] = await changes(wal);
    expect(failure).toEqual(JOB);
    seen.add(JSON.stringify(rest));
  }
  expect([...seen].sort()).toEqual(
    ["[]", JSON.stringify([["update workspace_builds", "update workspace_builds"]])].sort(),
  );
});

test("a stop soft-deletes the agents of earlier builds between its resources and its flags", async () => {
  await using stage = await openStage();
  const { simulation } = stage;
  const started = await startedBuild(simulation);
  const wal = await listen(stage.client);
  const stopped = await simulation.steps.laterBuild({
    workspace: started.workspace.id,
    transition: "stop",
  });
  await simulation.steps.acquire(stopped);
  await simulation.steps.complete(stopped);
  expect(await changes(wal)).toEqual([LATER, JOB, [...COMPLETED, AGENT_WRITTEN, FLAGS]]);
});

test("a delete marks workspace and agents last", async () => {
  await using stage = await openStage({ agentsOn: "all" });
  const { simulation } = stage;
  const started = await startedBuild(simulation);
  const wal = await listen(stage.client);
  const deleted = await simulation.steps.laterBuild({
    workspace: started.workspace.id,
    transition: "delete",
  });
  await simulation.steps.acquire(deleted);
  await simulation.steps.complete(deleted);
  expect(await changes(wal)).toEqual([
    LATER,
    JOB,
    // The first soft delete is of the start's agent, the second of the one that this build inserted.
    [...COMPLETED, MACHINE, AGENT, AGENT_WRITTEN, FLAGS, "update workspaces", AGENT_WRITTEN],
  ]);
});

test("an older release soft-deletes no agents", async () => {
  await using stage = await openStage({ softDelete: false });
  const { simulation } = stage;
  const started = await startedBuild(simulation);
  const wal = await listen(stage.client);
  await simulation.workflows.removeRunning({ workspace: started.workspace.id });
  expect((await changes(wal)).flat()).not.toContain(AGENT_WRITTEN);
});

test("an orphan delete is born, ended and forgotten in one transaction", async () => {
  await using stage = await openStage();
  const { simulation } = stage;
  const started = await startedBuild(simulation);
  const { id } = started.workspace;
  const wal = await listen(stage.client);
  const { job } = await simulation.workflows.orphanDelete({ workspace: id });
  expect(await changes(wal)).toEqual([[...LATER, ...JOB, "update workspaces", AGENT_WRITTEN]]);
  const { rows } = await stage.client.query(
    `select job_status, worker_id, started_at = created_at and completed_at = created_at as at_once
     from provisioner_jobs where id = $1`,
    [job.id],
  );
  expect(rows).toEqual([{ job_status: "succeeded", worker_id: null, at_once: true }]);
});

test("a claim changes the owner before it inserts job and build", async () => {
  await using stage = await openStage();
  const { simulation } = stage;
  const prebuild = await simulation.steps.prebuild();
  await simulation.steps.acquire(prebuild);
  await simulation.steps.complete(prebuild);
  const wal = await listen(stage.client);
  const claim = await simulation.steps.claim({ workspace: prebuild.workspace.id });
  const [tx, ...rest] = await wal.read();
  expect(rest).toEqual([]);
  expect(tx?.changes).toEqual(["update workspaces", ...LATER]);
  const { rows } = await stage.client.query(
    "select input->'prebuilt_workspace_stage' as stage from provisioner_jobs where id = any ($1) order by array_position($1::uuid[], id)",
    [[prebuild.job.id, claim.job.id]],
  );
  expect(rows).toEqual([{ stage: 1 }, { stage: 2 }]);
});

test("stale prebuilds are canceled and orphaned together in one transaction", async () => {
  await using stage = await openStage();
  const wal = await listen(stage.client);
  const deletions = await stage.simulation.workflows.cancelStalePrebuilds();
  expect(deletions).toHaveLength(3);
  const all = await wal.read();
  expect(all.slice(0, 3).map((tx) => tx.changes)).toEqual([CREATED, CREATED, CREATED]);
  const orphan = [...LATER, ...JOB, "update workspaces"];
  expect(all.slice(3).map((tx) => tx.changes)).toEqual([
    [...JOB, ...JOB, ...JOB, ...orphan, ...orphan, ...orphan],
  ]);
});

test("an import ends its job last, after resources, agents and presets", async () => {
  await using stage = await openStage({ heartbeats: 0 });
  const wal = await listen(stage.client);
  const template = templateNamed(stage.simulation, "kubernetes").id;
  await stage.simulation.workflows.publishVersion({ template });
  expect(await changes(wal)).toEqual([
    ["insert provisioner_jobs", "insert template_versions"],
    JOB,
    [MACHINE, MACHINE, AGENT, AGENT, PRESET, PRESET, ...JOB],
    ["update templates"],
  ]);
});

test("what is rolled back, to a savepoint or whole, and what is refused never shows", async () => {
  await using stage = await openStage({ heartbeats: 0 });
  const { workflows } = stage.simulation;
  const wal = await listen(stage.client);
  const template = templateNamed(stage.simulation, "batch").id;
  await workflows.rolledBackThenCreated({ template });
  await workflows.createdAfterSavepoint({ template });
  const created = (await wal.read()).filter((tx) => tx.changes.includes("insert workspaces"));
  expect(created.map((tx) => tx.changes)).toEqual([CREATED, CREATED]);

  await workflows.secondCompletionRefused();
  const completions = (await wal.read()).filter((tx) => tx.changes.includes(AGENT));
  expect(completions.length).toBe(1);
});

test("transactions overlap: some commit after others that began later", async () => {
  await using stage = await openStage();
  const wal = await listen(stage.client);
  await stage.simulation.run({ workflows: 60 });
  const xids = (await wal.read()).map((tx) => tx.xid);
  const late = xids.filter((xid, i) => xids.slice(0, i).some((earlier) => earlier > xid));
  expect(late.length).toBeGreaterThan(3);
});

async function startedBuild(
  simulation: Awaited<ReturnType<typeof openStage>>["simulation"],
): Promise<Build> {
  const template = templateNamed(simulation, "docker").id;
  const build = await simulation.steps.firstBuild({ template });
  await simulation.steps.acquire(build);
  await simulation.steps.complete(build);
  return build;
}
