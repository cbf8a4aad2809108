// First builds of regular workspaces: every ending that Coder knows, one workflow at a time.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { must } from "../../src/errors.ts";
import { divergentBesideStarts } from "../support/ledger.ts";
import {
  type Stage,
  all,
  attempted,
  created,
  connected,
  ended,
  failed,
  inFlight,
  openStage,
  succeeded,
} from "./support/stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(async () => stage[Symbol.asyncDispose]());

test("create a regular workspace: one attempt, one success, one first connection", async () => {
  const { workflows } = stage.simulation;
  const template = stage.template("docker").id;
  const { moved, result: build } = await stage.run(() =>
    workflows.createRegular({ template, preset: null }),
  );
  const agent = `docker|main|${build.workspace.owner.username}|${build.workspace.name}`;
  const { firstConnectedAt, createdAt } = build.agents[0] ?? {};
  expect(moved).toEqual({
    "attempts coder|docker|": 1,
    "outcomes coder|docker||success": 1,
    "created coder|docker|": 1,
    [`connections ${agent}`]: 1,
    [`seconds ${agent}`]: ((firstConnectedAt ?? 0) - (createdAt ?? 0)) / SECOND,
  });
});

test("create a regular workspace with a preset, by an admin for somebody else", async () => {
  const { simulation } = stage;
  const template = stage.template("docker", "research");
  const [admin, owner] = simulation.deployment.users;
  const preset = template.version.presets[0];
  const { moved, result: build } = await stage.run(() =>
    simulation.workflows.createRegular({
      template: template.id,
      preset: preset?.id ?? null,
      ...(owner && { owner: owner.id }),
      ...(admin && { initiator: admin.id }),
    }),
  );
  expect(moved).toMatchObject({ [`attempts research|docker|${preset?.name}`]: 1 });
  expect(moved).toEqual(succeeded(build));
  expect(build.agents.length).toBeGreaterThan(0);
  expect(Object.keys(connected(build.agents)).join()).toContain(`|${owner?.username}|`);
});

test("between the steps of a creation everything is born at 0 and nothing is out of balance", async () => {
  const { steps } = stage.simulation;
  const template = stage.template("devcontainer").id;
  const { moved, result: build } = await stage.run(() =>
    steps.firstBuild({ template, preset: null }),
  );
  expect(moved).toEqual(all(attempted(build), inFlight(build, 1)));
  expect(await stage.moved(() => steps.acquire(build))).toEqual({});

  // Longer than the clocks of two replicas can differ.
  await steps.wait(20 * SECOND);
  expect(await stage.moved(() => steps.complete(build))).toEqual(
    all(ended(build, "success"), inFlight(build, -1)),
  );
  // The agents have been inserted and have not connected: their series are there, at 0.
  const { owner, name } = build.workspace;
  const expected = ["dev", "frontend", "backend"].map(
    (agent) => `connections devcontainer|${agent}|${owner.username}|${name}`,
  );
  expect(stage.born).toEqual(expect.arrayContaining(expected));

  await steps.wait(45 * SECOND);
  for (const agent of build.agents)
    expect(await stage.moved(() => steps.connect(agent))).toEqual(connected([agent]));
  for (const agent of build.agents)
    expect(await stage.moved(() => steps.heartbeat(agent))).toEqual({});
});

test("an attempt brings its outcomes, and its failures by stage and code, into being at 0", async () => {
  const { steps } = stage.simulation;
  const template = stage.template("batch").id;
  const { result: build } = await stage.run(() => steps.firstBuild({ template, preset: null }));
  for (const series of [
    'outcomes_total{organization_name="coder",template_name="batch",preset_name="",status="success"} 0',
    'outcomes_total{organization_name="coder",template_name="batch",preset_name="",status="failure"} 0',
    'outcomes_total{organization_name="coder",template_name="batch",preset_name="",status="canceled"} 0',
    'failures_total{organization_name="coder",template_name="batch",preset_name="",stage="queue",error_code="other"} 0',
    'failures_total{organization_name="coder",template_name="batch",preset_name="",stage="provisioner",error_code="user_canceled"} 0',
  ])
    expect(stage.scrape.text).toContain(`\ncoderd_workspace_creation_${series}\n`);
  expect(await stage.moved(() => steps.cancel(build))).toEqual(
    all(ended(build, "canceled"), inFlight(build, -1)),
  );
});

describe("an ending that is not a success", () => {
  test("create fails, without an error code", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.createFails(),
    );
    expect(moved).toEqual(all(attempted(build), failed(build, "provisioner", "other")));
  });

  test("create fails with an error code of Coder's, which is then born everywhere at 0", async () => {
    const { steps } = stage.simulation;
    const template = stage.template("docker").id;
    const { result: build } = await stage.run(() => steps.firstBuild({ template, preset: null }));
    await stage.moved(() => steps.acquire(build));
    const moved = await stage.moved(() =>
      steps.fail(build, { error: "quota", errorCode: "INSUFFICIENT_QUOTA" }),
    );
    expect(moved).toEqual(
      all(inFlight(build, -1), failed(build, "provisioner", "INSUFFICIENT_QUOTA")),
    );
    expect(stage.born).toContain("failures research|docker||queue|INSUFFICIENT_QUOTA");
  });

  test("create fails with one of the error codes that a workflow picks", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.createFailsWithCode(),
    );
    expect([
      all(attempted(build), failed(build, "provisioner", "INSUFFICIENT_QUOTA")),
      all(attempted(build), failed(build, "provisioner", "REQUIRED_TEMPLATE_VARIABLES")),
    ]).toContainEqual(moved);
  });

  test("acquired, then the payload can not be built", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.acquireFails(),
    );
    expect(moved).toEqual(all(attempted(build), failed(build, "provisioner", "other")));
  });

  test("canceled while pending", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.cancelPending(),
    );
    expect(moved).toEqual(all(attempted(build), ended(build, "canceled")));
  });

  test("canceled while running: a failure, as Coder says", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.cancelRunning(),
    );
    expect(moved).toEqual(all(attempted(build), failed(build, "provisioner", "user_canceled")));
  });

  test("canceled while running: the request to cancel alone ends nothing", async () => {
    const { steps } = stage.simulation;
    const { result: build } = await stage.run(() => steps.firstBuild());
    await stage.moved(() => steps.acquire(build));
    expect(await stage.moved(() => steps.cancel(build))).toEqual({});
    expect(await stage.moved(() => steps.fail(build, { error: "canceled" }))).toEqual(
      all(inFlight(build, -1), failed(build, "provisioner", "user_canceled")),
    );
  });

  test("canceled while running, but built: canceled, and its agents connect", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.cancelRunningButBuilt(),
    );
    expect(moved).toEqual(all(attempted(build), ended(build, "canceled"), connected(build.agents)));
  });

  test("canceled while running, then reaped", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.cancelRunningThenReaped(),
    );
    expect(moved).toEqual(all(attempted(build), failed(build, "provisioner", "user_canceled")));
  });

  test("reaped while pending: it failed in the queue", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.reapPending(),
    );
    expect(moved).toEqual(all(attempted(build), failed(build, "queue", "other")));
  });

  test("reaped while hung: it failed in the provisioner", async () => {
    const { moved, result: build } = await stage.run(() => stage.simulation.workflows.reapHung());
    expect(moved).toEqual(all(attempted(build), failed(build, "provisioner", "other")));
  });

  test("the first build fails and the second start succeeds: counted once, as a failure, and created", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.createFailsThenStarts(),
    );
    const agents = build.workspace.builds.flatMap((each) => each.agents);
    expect(build.workspace.builds.map(({ job }) => job.status)).toEqual(["failed", "succeeded"]);
    expect(moved).toEqual(
      all(
        attempted(build),
        failed(build, "provisioner", "other"),
        created(must(build.workspace.builds[1], "a second build")),
        connected(agents),
      ),
    );
  });
});

describe("transactions that do not commit everything", () => {
  test("rolled back, then tried again: one attempt", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.rolledBackThenCreated(),
    );
    expect(moved).toEqual(succeeded(build));
  });

  test("a build undone by a savepoint and inserted again: one attempt", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.createdAfterSavepoint(),
    );
    expect(moved).toEqual(succeeded(build));
  });

  test("a second CompleteJob that dies on the agents' names changes nothing", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.secondCompletionRefused(),
    );
    expect(moved).toEqual(succeeded(build));
  });
});

describe("what has not ended", () => {
  test("stays pending: in flight", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.staysPending(),
    );
    expect(moved).toEqual(all(attempted(build), inFlight(build, 1)));
  });

  test("stays running: in flight", async () => {
    const { moved, result: build } = await stage.run(() =>
      stage.simulation.workflows.staysRunning(),
    );
    expect(moved).toEqual(all(attempted(build), inFlight(build, 1)));
  });
});

test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
  expect([...divergentBesideStarts(await stage.finish())]).toEqual([]);
});
