// Jobs through the sieve: what a worker does with one is news once, and its heartbeats are not.

import { getHeapStatistics } from "node:v8";
import { describe, expect, test } from "vitest";
import type { Row } from "../../src/change/row.ts";
import { JOB, JOBS, at, decoding, id } from "../support/decoding.ts";
import type { Columns } from "../support/pgoutput.ts";

const IMPORT = { ...JOB, type: "template_version_import" } satisfies Columns;
const RUNS = { ...IMPORT, started_at: at(1), worker_id: id(6) };
const CANCELING = { ...RUNS, canceled_at: at(9) };
const OVER = { ...RUNS, completed_at: at(30) };

/** How many rows of each of these are news. */
const news = (
  rows: (messages: readonly Buffer[], seconds?: number) => readonly Row[],
  told: readonly Columns[],
  seconds?: number,
): number[] => told.map((columns) => rows([JOBS.update(columns)], seconds).length);

describe("a job of any type", () => {
  test("is news when a worker takes it, when it is canceled, and when it ends, once each", () => {
    const { rows } = decoding();
    expect(rows([JOBS.insert(IMPORT)])).toEqual([]);
    const told = [IMPORT, RUNS, RUNS, RUNS, CANCELING, CANCELING, OVER, OVER];
    expect(news(rows, told)).toEqual([0, 1, 0, 0, 1, 0, 1, 0]);
  });

  test("is told whole while it runs", () => {
    const { rows } = decoding();
    expect(rows([JOBS.insert(IMPORT), JOBS.update(RUNS)])).toMatchObject([
      { kind: "job", type: "template_version_import", worker: id(6), completedAt: null },
    ]);
  });

  test("a start without a worker is none: the reaper and orphan deletes write one with their end", () => {
    const { rows } = decoding();
    const { worker_id: _none, ...unowned } = RUNS;
    expect(rows([JOBS.insert(IMPORT)])).toEqual([]);
    expect(news(rows, [unowned, RUNS])).toEqual([0, 1]);
  });

  test("is news when it is inserted running, and then is known", () => {
    const { rows } = decoding();
    expect(rows([JOBS.insert(RUNS)])).toHaveLength(1);
    expect(news(rows, [RUNS, CANCELING, OVER])).toEqual([0, 1, 1]);
  });
});

describe("after a restart", () => {
  test("a job that is known to run is no news, its cancel and its end are, however late they come", () => {
    const { rows, waiting } = decoding();
    waiting.addRunning(IMPORT.id, false);
    expect(news(rows, [RUNS, CANCELING, CANCELING], 90_000)).toEqual([0, 1, 0]);
    expect(news(rows, [OVER, OVER], 90_000)).toEqual([1, 0]);
  });

  test("one that waited, of which nobody knows, is news when it starts and when it ends, however late that comes", () => {
    const { rows } = decoding();
    expect(news(rows, [RUNS, RUNS, OVER, OVER], 90_000)).toEqual([1, 0, 1, 0]);
  });

  test("one whose cancel was told already is told of once more", () => {
    const { rows, waiting } = decoding();
    waiting.addRunning(IMPORT.id, false);
    expect(news(rows, [CANCELING, CANCELING])).toEqual([1, 0]);
  });
});

describe("an end that is taken back", () => {
  test("is news, and so is the next one, also with the same time", () => {
    const { rows } = decoding();
    expect(news(rows, [RUNS, OVER, RUNS, RUNS, OVER, OVER])).toEqual([1, 1, 1, 0, 1, 0]);
    expect(news(rows, [IMPORT, IMPORT, RUNS, OVER])).toEqual([1, 0, 1, 1]);
  });
});

const allocated = (): number => getHeapStatistics().total_allocated_bytes;

test("a million heartbeats of jobs that run allocate next to nothing", () => {
  const { decoder, waiting } = decoding();
  const beats = Array.from({ length: 100 }, (_, n) => {
    waiting.addRunning(id(1_000 + n), n % 2 === 0);
    return JOBS.update({ ...(n % 2 === 0 ? CANCELING : RUNS), id: id(1_000 + n) });
  });
  const beat = (rounds: number): void => {
    for (let round = 0; round < rounds; round += 1)
      for (const message of beats) decoder.decode(message);
  };
  beat(1_000);
  const before = allocated();
  beat(10_000);
  expect(allocated() - before).toBeLessThan(8 << 20);
});
