// What a job's row says of its worker: when it was taken, that it runs, and how it ended where it builds nothing.

import { describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { JobRow } from "../../src/change/row.ts";
import type { Outcome } from "../../src/derive/outcome.ts";
import type { Event } from "../../src/derive/step.ts";
import { CATALOG } from "../support/folding.ts";
import type { Entity } from "../../src/derive/state.ts";
import { MemoryState } from "../support/memory-state.ts";
import {
  END,
  IMPORT,
  START,
  after,
  buildEvent,
  importStarted,
  jobRow,
  ran,
  runningJob,
  started,
  uuid,
} from "../support/rows.ts";

const WORKER = uuid(0x3041);
const TAKEN = { worker: WORKER, startedAt: after(2) };
const OVER = { ...TAKEN, completedAt: after(30) };
const BUILD = buildEvent();

const job = (given: Partial<JobRow>): Event => ({ row: jobRow(given), end: END });
const importJob = (given: Partial<JobRow>): Event => job({ id: uuid(21), ...IMPORT, ...given });
const GONE: Event = {
  row: { kind: "gone", table: "provisioner_jobs", id: uuid(21) },
  end: END,
};
const IMPORT_RUNS = runningJob({ id: uuid(21), ...IMPORT });

const waits = ({ kind }: Entity): boolean => kind !== "workspace";

/** What the events lead to, after the `before` ones were committed; for what becomes of workspaces see workspace.test.ts. */
function outcome(events: readonly Event[], before: readonly Event[] = []): Outcome {
  const state = new MemoryState(CATALOG);
  for (const event of before) state.take([event]);
  const { facts, sightings, put, drop } = state.stage(events);
  return { facts, sightings, put: put.filter(waits), drop: drop.filter(waits) };
}

function endOf(given: Partial<JobRow>): unknown {
  const { facts } = outcome([importJob({ ...OVER, ...given })]);
  return facts.find(({ kind }) => kind === "ran");
}

const NOTHING: Outcome = { facts: [], sightings: [], put: [], drop: [] };

describe("a job that a worker took", () => {
  test("has started, and runs", () => {
    expect(outcome([importJob(TAKEN)])).toEqual({
      ...NOTHING,
      facts: [importStarted()],
      put: [IMPORT_RUNS],
    });
  });

  test("of a build is told with the build", () => {
    expect(outcome([job(TAKEN)], [BUILD])).toEqual({
      ...NOTHING,
      facts: [started()],
      put: [runningJob()],
    });
  });

  test("starts once, however often it is told of, and a start that was rewritten is seen", () => {
    const again = { kind: "started", id: uuid(21), at: after(2), took: 2 * SECOND } as const;
    expect(outcome([importJob(TAKEN)], [importJob(TAKEN)])).toEqual({
      ...NOTHING,
      sightings: [again],
    });
    const later = { ...again, at: after(5), took: 5 * SECOND };
    const rewritten = importJob({ ...TAKEN, startedAt: after(5) });
    expect(outcome([rewritten], [importJob(TAKEN)]).sightings).toEqual([later]);
    expect(outcome([importJob({})], [importJob(TAKEN)]).sightings).toEqual([
      { kind: "started", id: uuid(21), at: null },
    ]);
  });

  test("waited as long as the clocks say, also less than nothing", () => {
    const [fact] = outcome([importJob({ ...TAKEN, startedAt: after(-3) })]).facts;
    expect(fact).toEqual(importStarted({ at: START - 3 * SECOND, took: -3 * SECOND }));
  });

  test("of a build that nobody saw runs, and more is not known of it", () => {
    expect(outcome([job(TAKEN)])).toEqual({ ...NOTHING, put: [runningJob()] });
  });

  test.each([{}, { startedAt: after(2) }, { worker: WORKER }, { canceledAt: after(9) }])(
    "is none that is %j",
    (given) => {
      expect(outcome([importJob(given)])).toEqual(NOTHING);
    },
  );
});

describe("the end of a job that builds nothing", () => {
  test("is a fact, and it runs no more", () => {
    const { facts, put, drop } = outcome([importJob(OVER)], [importJob(TAKEN)]);
    expect({ facts, put, drop }).toEqual({ facts: [ran()], put: [], drop: [IMPORT_RUNS] });
  });

  test("brings its start where that was not seen", () => {
    const { facts, put, drop } = outcome([importJob(OVER)]);
    expect({ facts, put, drop }).toEqual({ facts: [importStarted(), ran()], put: [], drop: [] });
  });

  test("is a failure with a code, and canceled where nothing failed", () => {
    const failed = { status: "failure", stage: "provisioner" } as const;
    expect(endOf({ failed: true })).toEqual(ran({ ...failed, errorCode: "other" }));
    expect(endOf({ failed: true, errorCode: "X" })).toEqual(ran({ ...failed, errorCode: "X" }));
    expect(endOf({ canceledAt: after(9) })).toEqual(ran({ status: "canceled" }));
  });

  test("is none where no worker had it: reaped or canceled in the queue", () => {
    for (const given of [{ startedAt: after(30), failed: true }, { canceledAt: after(30) }]) {
      const { facts, put, drop } = outcome([importJob({ completedAt: after(30), ...given })]);
      expect({ facts, put, drop }).toEqual({ facts: [], put: [], drop: [] });
    }
  });

  test("counts once; another one, or none any more, is seen", () => {
    const before = [importJob({ ...OVER, failed: true })];
    const late = outcome([importJob({ ...OVER, completedAt: after(400) })], before);
    expect(late.facts).toEqual([]);
    expect(late.sightings).toContainEqual({
      kind: "ran",
      id: uuid(21),
      at: after(400),
      status: "success",
      stage: "",
      errorCode: "",
    });
    expect(outcome([importJob(TAKEN)], before).sightings).not.toContainEqual(
      expect.objectContaining({ kind: "ran" }),
    );
    const back = outcome([importJob({ ...TAKEN, isOpen: true })], before);
    expect([back.facts, back.put]).toEqual([[], []]);
    expect(back.sightings).toContainEqual({ kind: "ran", id: uuid(21), at: null });
  });
});

test("a build's job that ended runs no more, and a stale row of it does not bring it back", () => {
  const before = [BUILD, job(TAKEN)];
  const over = outcome([job(OVER)], before);
  expect(over.facts.map(({ kind }) => kind)).toEqual(["ended", "created"]);
  expect(over.drop).toContainEqual(runningJob());
  expect(outcome([job(TAKEN)], [...before, job(OVER)]).put).toEqual([]);
});

test("taken and ended within one batch, it is never seen to run", () => {
  const { facts, put, drop } = outcome([importJob(TAKEN), importJob(OVER)]);
  expect(facts.map(({ kind }) => kind)).toEqual(["started", "ran"]);
  expect([put, drop]).toEqual([[], []]);
});

test("a job whose row is deleted runs no more", () => {
  expect(outcome([GONE], [importJob(TAKEN)]).drop).toEqual([IMPORT_RUNS]);
});

test("a build that was counted without its start, by an older version, starts with the tables", () => {
  const older = new MemoryState(CATALOG);
  const { facts } = outcome([job(OVER)], [BUILD]);
  const [first, ...rest] = facts;
  expect(first).toEqual(started());
  const staged = older.stage([BUILD]);
  staged.facts = [...staged.facts, ...rest];
  older.commit(staged);
  expect(older.stage([BUILD, job(OVER)]).facts).toContainEqual(started());
});
