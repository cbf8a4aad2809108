// What is there: each workspace that is not deleted, by its latest build.

import { describe, expect, test } from "vitest";
import type { JobRow, Uuid } from "../../src/change/row.ts";
import type { EntityKind, LiveWorkspace } from "../../src/derive/state.ts";
import { Staged } from "../../src/derive/staged.ts";
import { Unordered } from "../../src/derive/unordered.ts";
import { statusOf } from "../../src/derive/workspace.ts";
import { must } from "../../src/errors.ts";
import { MemoryState } from "../support/memory-state.ts";
import { CATALOG, series } from "../support/folding.ts";
import { END, NAMES, START, WORKSPACE, after, buildEvent, jobRow, uuid } from "../support/rows.ts";

const WORKER = uuid(0x3041);
type Events = Parameters<MemoryState["stage"]>[0];

const build = (number: number, given: Parameters<typeof buildEvent>[0] = {}, told = {}) =>
  buildEvent({ id: uuid(100 + number), job: uuid(200 + number), number, ...given }, told);
const job = (number: number, given: Partial<JobRow>) => ({
  row: jobRow({ id: uuid(200 + number), ...given }),
  end: END,
});
const RUNS = { worker: WORKER, startedAt: after(1) };
const DONE = { ...RUNS, completedAt: after(30) };

/** The workspace after these batches; undefined when it is not there. */
function there(...batches: readonly Events[]): LiveWorkspace | undefined {
  const state = new MemoryState(CATALOG);
  for (const batch of batches) state.take(batch);
  const counted = series(state.publish(), "api_workspace_latest_build").filter(
    (line) => !line.endsWith(" 0"),
  );
  const found = state.workspace(WORKSPACE.id);
  expect(counted).toEqual(found ? [`{status="${found.status}"} 1`] : []);
  return found;
}

const statusAfter = (...batches: readonly Events[]): string | undefined =>
  there(...batches)?.status;

describe("the latest build", () => {
  test("is the one with the highest number, in whichever order they are told", () => {
    const events = [build(2), build(3, { transition: "stop" }), build(1)];
    for (const order of [events, events.toReversed()]) {
      expect(there(order)).toMatchObject({ number: 3, job: uuid(203) });
      expect(there(...order.map((event) => [event]))).toMatchObject({ number: 3 });
    }
  });

  test("has the status of its job, and no other job matters", () => {
    expect(statusAfter([build(1)])).toBe("pending");
    expect(statusAfter([build(1)], [job(1, RUNS)])).toBe("running");
    expect(
      statusAfter([build(1)], [job(1, RUNS)], [job(1, { ...RUNS, canceledAt: after(9) })]),
    ).toBe("canceling");
    expect(statusAfter([build(1), job(1, DONE), build(2)])).toBe("pending");
    expect(statusAfter([build(1), build(2), job(1, DONE)])).toBe("pending");
    expect(statusAfter([build(1), job(1, DONE), build(2), job(2, { ...DONE, failed: true })])).toBe(
      "failed",
    );
  });

  test("does not go back when rows are told again, and ends once more only later", () => {
    const history = [[build(1)], [job(1, RUNS)], [job(1, DONE)]];
    expect(statusAfter(...history, ...history)).toBe("succeeded");
    expect(statusAfter(...history, [job(1, RUNS)])).toBe("succeeded");
    const reaped = [build(1), job(1, { ...DONE, failed: true })];
    const late = [job(1, { ...DONE, completedAt: after(400) })];
    expect(statusAfter(reaped, late)).toBe("succeeded");
    expect(statusAfter(reaped, late, reaped)).toBe("succeeded");
  });
});

describe("a workspace is gone", () => {
  const remove = build(2, { transition: "delete" });

  test("when its delete is done, also one that was canceled, or that the reaper had failed", () => {
    expect(there([build(1), job(1, DONE), remove, job(2, DONE)])).toBeUndefined();
    expect(
      there([build(1)], [remove], [job(2, { ...DONE, canceledAt: after(9) })]),
    ).toBeUndefined();
    const failed = job(2, { ...DONE, failed: true });
    expect(statusAfter([build(1)], [remove], [failed])).toBe("failed");
    const late = job(2, { ...DONE, completedAt: after(400) });
    expect(there([build(1)], [remove], [failed], [late])).toBeUndefined();
  });

  test("and stays so: rows that are told again, or another delete of it, bring nothing back", () => {
    const all = [build(1), job(1, DONE), remove, job(2, DONE)];
    expect(there(all, all)).toBeUndefined();
    for (const event of all) expect(there(all, [event])).toBeUndefined();
    expect(there(all, [build(3, { transition: "delete" }, { deleted: true })])).toBeUndefined();
  });

  test("when the tables say so, whatever the ledger had", () => {
    const told = { fromTables: true, deleted: true };
    expect(there([build(1, {}, told)])).toBeUndefined();
    expect(there([build(1), job(1, DONE)], [build(1, {}, told)])).toBeUndefined();
  });

  test("in one batch with its last change, which the ledger had before", () => {
    const state = new MemoryState(CATALOG);
    state.take([build(1)]);
    const { put, drop } = state.stage([remove, job(2, DONE)]);
    expect(put.map(({ kind }) => kind)).toEqual([]);
    expect(drop.map(({ kind }) => kind)).toEqual(["workspace"]);
  });
});

describe("its deletion is a fact", () => {
  const history: Events = [build(1), job(1, DONE)];
  const remove = (number: number) => build(number, { transition: "delete" });
  const done = (seconds: number) => ({ ...DONE, completedAt: after(seconds) });

  /** When it was deleted, and by which build, as it was first told, after these batches. */
  function deletions(...batches: readonly Events[]): readonly (readonly [number, number])[] {
    const state = new MemoryState(CATALOG);
    for (const batch of batches) state.take(batch);
    return [...state.facts()].flatMap((fact) =>
      fact.kind === "deleted" && fact.id === WORKSPACE.id ? [[fact.number, fact.at] as const] : [],
    );
  }

  test("with the end of its delete, whether that was canceled but done or no worker had it, and not if it failed", () => {
    expect(deletions(history, [remove(2), job(2, done(40))])).toEqual([[2, after(40)]]);
    const canceled = { ...done(40), canceledAt: after(39) };
    expect(deletions(history, [remove(2)], [job(2, canceled)])).toEqual([[2, after(40)]]);
    const orphan = { startedAt: START, completedAt: START };
    expect(deletions(history, [remove(2), job(2, orphan)])).toEqual([[2, START]]);
    expect(deletions(history, [remove(2), job(2, RUNS)])).toEqual([]);
    expect(deletions(history, [remove(2), job(2, { ...done(40), failed: true })])).toEqual([]);
    expect(deletions(history, [build(2, { transition: "stop" }), job(2, done(40))])).toEqual([]);
  });

  test("once, whatever is told again or deleted again, in stream and tables", () => {
    const first = [remove(2), job(2, done(40))];
    const second = [remove(3), job(3, done(50))];
    expect(deletions(history, first, second, first)).toEqual([[2, after(40)]]);
    expect(deletions([...history, ...first, ...second])).toEqual([[2, after(40)]]);
    const told = { fromTables: true, deleted: true };
    const tables = [build(2, { transition: "delete" }, told), job(2, done(40))];
    expect(deletions(tables)).toEqual([[2, after(40)]]);
    expect(deletions([...history, ...first], tables)).toEqual([[2, after(40)]]);
  });

  test("when the reaper had failed it and its worker was done all the same", () => {
    const reaped = job(2, { ...done(40), failed: true });
    expect(deletions(history, [remove(2)], [reaped], [job(2, done(400))])).toEqual([
      [2, after(400)],
    ]);
  });

  test("which is seen to be another one, or taken back, by the build that did it and no other", () => {
    const state = new MemoryState(CATALOG);
    state.take([...history, remove(2), job(2, done(40)), remove(3), job(3, done(50))]);
    const seen = (event: ReturnType<typeof job>): readonly unknown[] =>
      state.stage([event]).sightings.filter(({ kind }) => kind === "deleted");
    const id = WORKSPACE.id;
    expect(seen(job(2, done(41)))).toEqual([{ kind: "deleted", id, number: 2, at: after(41) }]);
    expect(seen(job(2, { ...done(41), failed: true }))).toEqual([
      { kind: "deleted", id, at: null },
    ]);
    expect(seen(job(2, { ...RUNS, isOpen: true }))).toEqual([{ kind: "deleted", id, at: null }]);
    expect(seen(job(2, RUNS)), "a row of before, told again").toEqual([]);
    expect(seen(job(3, done(51)))).toEqual([]);
    expect(seen(job(3, { ...RUNS, isOpen: true }))).toEqual([]);
  });
});

const idsOf = (ledger: MemoryState, kind: EntityKind): Uuid[] =>
  [...ledger.entities()].filter((entity) => entity.kind === kind).map(({ id }) => id);

/** The ledger after a baseline over it. */
function baseline(ledger: MemoryState, events: Events): readonly LiveWorkspace[] {
  const unordered = new Unordered(ledger, { empty: false });
  const staged = ledger.stage(events, unordered.state);
  unordered.hold(staged, []);
  ledger.commit(staged);
  const before = { workspace: idsOf(ledger, "workspace"), job: idsOf(ledger, "job") };
  for (const outcome of unordered.release(before, END)) {
    const rest = new Staged(ledger);
    rest.add(outcome);
    ledger.commit(rest);
  }
  return [...ledger.entities()].filter((entity) => entity.kind === "workspace");
}

describe("tables that are read again are what there is", () => {
  const told = { fromTables: true };

  test("also where they have less than was known: a history that was cut short", () => {
    const ledger = new MemoryState(CATALOG);
    const other = buildEvent({ id: uuid(300), job: uuid(301), workspace: uuid(302) });
    ledger.take([build(1), job(1, DONE), build(2), job(2, RUNS), other]);
    const left = baseline(ledger, [build(1, {}, told), job(1, DONE)]);
    expect(left).toMatchObject([{ id: WORKSPACE.id, number: 1, status: "succeeded" }]);
    expect(series(ledger.publish(), "api_workspace_latest_build")).toContain(
      '{status="succeeded"} 1',
    );
    expect(series(ledger.publish(), "workspace_latest_build_status")).toHaveLength(1);
  });

  test("also of jobs: one that a failover has put back into the queue runs no more, one that runs goes on", () => {
    const ledger = new MemoryState(CATALOG);
    ledger.take([build(1), job(1, RUNS), build(2), job(2, RUNS)]);
    const current = () => series(ledger.publish(), "provisionerd_jobs_current");
    expect(current()).toEqual([`{provisioner="terraform"} 2`]);
    baseline(ledger, [
      build(1, {}, told),
      job(1, { isOpen: true }),
      build(2, {}, told),
      job(2, RUNS),
    ]);
    expect(current()).toEqual([`{provisioner="terraform"} 1`]);
    expect(ledger.runningJob(uuid(202))).toBeDefined();
  });

  test("and change nothing when they are the same, names included: those are frozen", () => {
    const ledger = new MemoryState(CATALOG);
    ledger.take([build(1), job(1, DONE)]);
    const before = [...ledger.entities()];
    const renamed = { ...told, names: { ...NAMES, template: "renamed" }, owner: "bob" };
    baseline(ledger, [build(1, {}, renamed), job(1, DONE)]);
    expect([...ledger.entities()]).toEqual(before);
  });
});

test("a workspace is whole when its first build or the tables told of it", () => {
  expect(there([build(1)], [build(2)])?.whole).toBe(true);
  expect(there([build(2)], [build(3)])?.whole).toBe(false);
  expect(there([build(2, {}, { fromTables: true })], [build(3)])?.whole).toBe(true);
});

/** How many workspaces are found to be created. `whole`: as a ledger that began with the tables. */
const creations = (whole: boolean, events: Events): number =>
  Object.assign(new MemoryState(CATALOG), { whole })
    .take(events)
    .filter(({ kind }) => kind === "created").length;

test("of what began at a slot, only workspaces that are whole are known to be created", () => {
  expect(creations(false, [build(1), job(1, DONE)])).toBe(1);
  expect(
    creations(false, [build(1), job(1, { ...DONE, failed: true }), build(2), job(2, DONE)]),
  ).toBe(1);
  expect(creations(false, [build(2), job(2, DONE)])).toBe(0);
  expect(creations(true, [build(2), job(2, DONE)])).toBe(1);
});

test.each([
  ["pending", {}],
  ["running", RUNS],
  ["canceling", { ...RUNS, canceledAt: after(9) }],
  ["canceling", { canceledAt: after(9) }],
  ["failed", { ...RUNS, failed: true }],
  ["succeeded", DONE],
  ["failed", { ...DONE, failed: true, canceledAt: after(9) }],
  ["canceled", { ...DONE, canceledAt: after(9) }],
] as const)("job_status as Coder computes it: %s", (status, given) => {
  expect(statusOf(jobRow(given))).toBe(status);
});

/** Labels of the workspace of these rows. */
const labels = (status: string): string =>
  `{status="${status}",template_name="docker",template_version="v7",workspace_owner="alice",workspace_transition="start"}`;

test("label sets without workspaces are absent", () => {
  const state = new MemoryState(CATALOG);
  const lines = (): readonly string[] => series(state.publish(), "workspace_latest_build_status");
  state.take([build(1)]);
  expect(lines()).toEqual([`${labels("pending")} 1`]);
  state.take([job(1, DONE)]);
  expect(lines()).toEqual([`${labels("succeeded")} 1`]);
  state.take([buildEvent({ id: uuid(300), job: uuid(301), workspace: uuid(302) })]);
  state.take([{ row: jobRow({ id: uuid(301), ...DONE }), end: END }]);
  expect(lines()).toEqual([`${labels("succeeded")} 2`]);
  expect(must(state.workspace(uuid(302)), "a workspace").number).toBe(1);
});
