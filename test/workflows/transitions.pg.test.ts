// Later builds: no attempts, whoever asks for them and why; but each start brings new agents, which connect for the first
// time. Releases of Coder up to 2.36 insert agents for stop and delete builds, too.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { divergentBesideStarts } from "../support/ledger.ts";
import { type Stage, connected, inFlight, openStage, succeeded } from "./support/stage.ts";

describe("of Coder today", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage({ seed: 2 });
  });
  afterAll(async () => stage[Symbol.asyncDispose]());

  /** A workspace of its own, running or stopped. */
  async function workspace(kind: "running" | "stopped") {
    const { workflows } = stage.simulation;
    const template = stage.template("kubernetes").id;
    const { result: build } = await stage.run(() =>
      workflows.createRegular({ template, preset: null }),
    );
    if (kind === "stopped")
      await stage.moved(() => workflows.stop({ workspace: build.workspace.id }));
    return build.workspace;
  }

  test.each([
    ["stop", "stop", "running", false],
    ["start", "start", "stopped", true],
    ["start of a dormant workspace", "startDormant", "stopped", true],
    ["update of a running workspace", "update", "running", true],
    ["restart", "restart", "running", true],
    ["delete", "remove", "stopped", false],
    ["delete of a running workspace", "removeRunning", "running", false],
    ["autostart", "autostart", "stopped", true],
    ["autostop and dormancy", "autostop", "running", false],
    ["autodelete", "autodelete", "stopped", false],
    ["a stop that fails, then one that succeeds", "stopFailsThenStops", "running", false],
    ["orphan delete", "orphanDelete", "stopped", false],
  ] as const)("%s: no attempt", async (_what, workflow, of, starts) => {
    const { id } = await workspace(of);
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows[workflow]({ workspace: id }),
    );
    expect(build.workspace.builds.length).toBeGreaterThan(1);
    expect(moved).toEqual(connected(build.agents));
    expect(build.agents.length > 0).toBe(starts);
  });

  test("a delete of a workspace whose first build never started leaves that build's outcome alone", async () => {
    const { steps, workflows } = stage.simulation;
    const { result: first } = await stage.run(() => workflows.cancelPending());
    const { result: second } = await stage.run(() =>
      steps.laterBuild({ workspace: first.workspace.id, transition: "delete" }),
    );
    expect(await stage.moved(() => steps.acquire(second))).toEqual({});
    expect(await stage.moved(() => steps.complete(second))).toEqual({});
  });

  test("the first build is in flight until it ends, however many agents of others connect", async () => {
    const { steps, workflows } = stage.simulation;
    const { result: waiting, moved } = await stage.run(() => steps.firstBuild());
    expect(moved).toMatchObject(inFlight(waiting, 1));
    const { result: other, moved: others } = await stage.run(() => workflows.createRegular());
    expect(others).toEqual(succeeded(other));
    expect(await stage.moved(() => steps.cancel(waiting))).toMatchObject(inFlight(waiting, -1));
  });

  test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
    expect([...divergentBesideStarts(await stage.finish())]).toEqual([]);
  });
});

describe("of Coder up to 2.36, with agents of stop and delete builds and no soft deletes", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage({ seed: 3, agentsOn: "all", softDelete: false });
  });
  afterAll(async () => stage[Symbol.asyncDispose]());

  test("agents of stop and delete builds have a series and never connect", async () => {
    const { workflows } = stage.simulation;
    const template = stage.template("docker").id;
    const { moved, result: first } = await stage.run(() =>
      workflows.createRegular({ template, preset: null }),
    );
    expect(moved).toEqual(succeeded(first));
    const { id } = first.workspace;
    const stopped = await stage.run(() => workflows.stop({ workspace: id }));
    expect(stopped.result.agents).toHaveLength(1);
    expect(stopped.moved).toEqual({});
    const started = await stage.run(() => workflows.start({ workspace: id }));
    expect(started.moved).toEqual(connected(started.result.agents));
    const removed = await stage.run(() => workflows.removeRunning({ workspace: id }));
    expect(removed.result.agents).toHaveLength(1);
    expect(removed.moved).toEqual({});
  });

  test("an agent of a stop build that connects all the same is a first connection", async () => {
    const { workflows, steps } = stage.simulation;
    const template = stage.template("docker").id;
    const { result: first } = await stage.run(() =>
      workflows.createRegular({ template, preset: null }),
    );
    const { result: stopped } = await stage.run(() =>
      workflows.stop({ workspace: first.workspace.id }),
    );
    await steps.wait(30_000_000);
    const moved = await stage.moved(async () => {
      for (const agent of stopped.agents) await steps.connect(agent);
    });
    expect(moved).toEqual(connected(stopped.agents));
    expect(Object.keys(moved)).toHaveLength(2);
  });

  test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
    expect([...divergentBesideStarts(await stage.finish())]).toEqual([]);
  });
});
