// Rows that are rewritten after they were counted: the first final fact stays, and the id is listed as divergent.
// A recount of the tables then differs by exactly that id.

import { afterAll, beforeAll, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { must } from "../../src/errors.ts";
import { recount } from "../support/recount.ts";
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
} from "./support/stage.ts";
import { divergentBesideStarts } from "../support/ledger.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ agrees: "ids", divergent: true });
});
afterAll(async () => stage[Symbol.asyncDispose]());

test("reaped, then completed after all: stays a failure, of a workspace that is created all the same", async () => {
  const { moved, result: build } = await stage.run(() =>
    stage.simulation.workflows.reapedThenCompletes(),
  );
  expect(moved).toEqual(
    all(
      attempted(build),
      failed(build, "provisioner", "other"),
      created(build),
      connected(build.agents),
      { "divergent ended": 1 },
    ),
  );
  expect(stage.scrape.text).toContain('\nfirstlight_divergent_ids{kind="ended"} 1\n');
  const tables = await recount(stage.client);
  expect([...tables.failures]).toEqual([]);
  expect([...tables.outcomes].map(([labels]) => JSON.parse(labels)[3])).toEqual(["success"]);
});

test("reaped while pending, then completed: the stage of the first end stays", async () => {
  // On a stage of its own: the simulation is not told that steps put together like this rewrite something.
  await using apart = await openStage({ agrees: "ids" });
  const { steps } = apart.simulation;
  const template = apart.template("batch").id;
  const { result: build } = await apart.run(() => steps.firstBuild({ template, preset: null }));
  expect(await apart.moved(() => steps.reap(build))).toEqual(
    all(inFlight(build, -1), failed(build, "queue", "other")),
  );
  await steps.wait(10 * SECOND);
  expect(await apart.moved(() => steps.complete(build))).toEqual(
    all(created(build), { "divergent ended": 1 }),
  );
});

test("reaped, then another start succeeds, then completed after all: created by the start that was seen first", async () => {
  await using apart = await openStage({ agrees: "ids" });
  const { steps } = apart.simulation;
  const template = apart.template("batch");
  const [small] = template.version.presets;
  const build = await steps.firstBuild({ template: template.id, preset: small?.id ?? null });
  await steps.acquire(build);
  await steps.wait(10 * SECOND);
  await steps.reap(build);
  const { moved, result: second } = await apart.run(async () => {
    const later = await steps.laterBuild({ workspace: build.workspace.id, transition: "start" });
    await steps.acquire(later);
    await steps.wait(10 * SECOND);
    await steps.complete(later);
    return later;
  });
  expect(moved).toMatchObject(created(second));
  await steps.wait(10 * SECOND);
  expect(await apart.moved(() => steps.complete(build))).toEqual({
    "divergent ended": 1,
    "divergent created": 1,
  });
});

test("CompleteJob repeated: one success, with the first time", async () => {
  const { moved, result: build } = await stage.run(() =>
    stage.simulation.workflows.completesTwice(),
  );
  expect(moved).toEqual(
    all(attempted(build), ended(build, "success"), {
      "divergent ended": 1,
      "divergent created": 1,
    }),
  );
});

test("CompleteJob repeated with the same time is a repetition like any other: nothing diverges", async () => {
  const { result: build } = await stage.run(() => stage.simulation.workflows.createFails());
  const again = await stage.moved(() =>
    stage.client.query("update provisioner_jobs set completed_at = completed_at where id = $1", [
      build.job.id,
    ]),
  );
  expect(again).toEqual({});
});

test("two overlapping connections flip first_connected_at: one sample, of the first", async () => {
  const template = stage.template("docker").id;
  const { moved, result: build } = await stage.run(() =>
    stage.simulation.workflows.overlappingConnections({ template, preset: null }),
  );
  const agent = must(build.agents[0], "an agent");
  const shown = stage.simulation.expected().connected.find(({ id }) => id === agent.id);
  const labels = `docker|main|${build.workspace.owner.username}|${build.workspace.name}`;
  expect(moved).toEqual(
    all(attempted(build), ended(build, "success"), {
      [`connections ${labels}`]: 1,
      [`seconds ${labels}`]: (shown?.took ?? 0) / SECOND,
      "divergent connected": 1,
    }),
  );
  // What the row says in the end is the other value.
  expect(agent.firstConnectedAt).not.toBe(agent.createdAt + (shown?.took ?? 0));
});

test("by id, the ledger differs from the tables by exactly the divergent ids", async () => {
  const divergent = divergentBesideStarts(await stage.finish());
  expect([...divergent.values()]).toEqual(Array.from({ length: 4 }, () => "revised"));
});
