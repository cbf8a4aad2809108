// Templates: imports and dry runs insert agents that never connect; names change and are used again.

import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { byLabels } from "../support/scrape.ts";
import { divergentBesideStarts } from "../support/ledger.ts";
import { type Stage, attempted, openStage, succeeded } from "./support/stage.ts";

let stage: Stage;
beforeAll(async () => {
  // Today: an import is only looked at when it completed about when its transaction committed.
  stage = await openStage({ seed: 6, agrees: "sums", startAt: Date.now() * 1000 });
});
afterAll(async () => stage[Symbol.asyncDispose]());

test("what can be built exists at 0 before anybody has built anything", () => {
  const attempts = byLabels(stage.scrape, "coderd_workspace_creation_attempts_total");
  expect(Object.fromEntries(attempts)).toEqual({
    '["coder","docker",""]': 0,
    '["coder","kubernetes",""]': 0,
    '["coder","kubernetes","small"]': 0,
    '["coder","kubernetes","GPU \\"large\\""]': 0,
    '["coder","devcontainer",""]': 0,
    '["coder","devcontainer","C:\\\\dev"]': 0,
    '["coder","batch",""]': 0,
    '["coder","batch","small"]': 0,
    '["research","docker",""]': 0,
    '["research","docker","日本語 (東京)"]': 0,
    '["research","docker","Größe XL"]': 0,
  });
});

test("an import: nothing counts, and a new preset's series are born at 0", async () => {
  const template = stage.template("docker");
  const preset = { id: randomUUID(), name: "newborn", desired: null };
  // The next version has one preset more than this one.
  template.version = { ...template.version, presets: [...template.version.presets, preset] };
  const moved = await stage.moved(() =>
    stage.simulation.workflows.publishVersion({ template: template.id }),
  );
  expect(moved).toEqual({});
  expect(stage.born.filter((name) => !name.startsWith("failures"))).toEqual([
    "attempts coder|docker|newborn",
    "outcomes coder|docker|newborn|success",
    "outcomes coder|docker|newborn|failure",
    "outcomes coder|docker|newborn|canceled",
    "created coder|docker|newborn",
    "in flight coder|docker|newborn",
    "prebuilds created docker|newborn|coder",
    "prebuilds failed docker|newborn|coder",
    "prebuilds claimed docker|newborn|coder",
  ]);

  const born = template.version.presets.find(({ name }) => name === "newborn");
  const { moved: created, result: build } = await stage.run(() =>
    stage.simulation.workflows.createRegular({ template: template.id, preset: born?.id ?? null }),
  );
  expect(created).toMatchObject({ "attempts coder|docker|newborn": 1 });
  expect(created).toEqual(succeeded(build));
});

test.each([
  ["an import", "publishVersion"],
  ["an import that fails", "importFails"],
  ["a dry run", "dryRun"],
] as const)("agents of %s get no series and wait for nothing", async (_what, workflow) => {
  const waiting = stage.scrape.series.get('firstlight_in_flight{kind="agent"}');
  const { rows: before } = await stage.client.query("select from workspace_agents");
  expect(await stage.moved(() => stage.simulation.workflows[workflow]())).toEqual({});
  expect(stage.born).toEqual([]);
  expect(stage.scrape.series.get('firstlight_in_flight{kind="agent"}')).toBe(waiting);
  const { rows: after } = await stage.client.query("select from workspace_agents");
  if (workflow !== "importFails") expect(after.length).toBeGreaterThanOrEqual(before.length);
});

test("a template is renamed: old series stay, new events get the new name", async () => {
  const template = stage.template("batch");
  const { moved: before } = await stage.run(() =>
    stage.simulation.workflows.createFails({ template: template.id, preset: null }),
  );
  expect(before).toMatchObject({ "attempts coder|batch|": 1 });
  expect(
    await stage.moved(() => stage.simulation.workflows.renameTemplate({ template: template.id })),
  ).toEqual({});
  const { moved, result: build } = await stage.run(() =>
    stage.simulation.workflows.createRegular({ template: template.id, preset: null }),
  );
  expect(template.name).toMatch(/^batch-r\d+$/);
  expect(moved).toEqual(succeeded(build));
  expect(moved).toMatchObject({ [`attempts coder|${template.name}|`]: 1 });
  const attempts = byLabels(stage.scrape, "coderd_workspace_creation_attempts_total");
  expect(attempts.get('["coder","batch",""]')).toBe(1);
});

test("renamed between a build and its end: both have the name of the build", async () => {
  const { steps, workflows } = stage.simulation;
  const template = stage.template("kubernetes");
  const { result: build } = await stage.run(() =>
    steps.firstBuild({ template: template.id, preset: null }),
  );
  await stage.moved(() => workflows.renameTemplate({ template: template.id }));
  expect(await stage.moved(() => steps.cancel(build))).toEqual({
    "outcomes coder|kubernetes||canceled": 1,
    "in flight coder|kubernetes|": -1,
  });
});

test("a template is deleted and its name used again: both count in one series, and nothing falls", async () => {
  const { moved, result: second } = await stage.run(() =>
    stage.simulation.workflows.recreateTemplate(),
  );
  const { name, organization } = second;
  const { rows } = await stage.client.query<{ deleted: boolean }>(
    "select deleted from templates where name = $1 order by created_at",
    [name],
  );
  expect(rows.map(({ deleted }) => deleted)).toEqual([true, false]);
  expect(moved).toMatchObject({
    [`attempts ${organization.name}|${name}|`]: 2,
    [`outcomes ${organization.name}|${name}||success`]: 2,
  });
  const { moved: third, result: build } = await stage.run(() =>
    stage.simulation.workflows.createRegular({ template: second.id, preset: null }),
  );
  expect(third).toMatchObject(attempted(build));
});

test("by id, the ledger of all this equals the tables and what was meant to happen", async () => {
  expect([...divergentBesideStarts(await stage.finish())]).toEqual([]);
});
