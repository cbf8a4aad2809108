// Simulated time, randomness and literals: what the determinism of the simulation rests on.

import fc from "fast-check";
import { expect, test } from "vitest";
import { deck } from "../../../src/demo/coder/mix.ts";
import { Random } from "../../../src/demo/coder/random.ts";
import { insert, sql, time, update } from "../../../src/demo/coder/sql.ts";
import { Timeline, type Process } from "../../../src/demo/coder/timeline.ts";

async function* told(log: string[], name: string, waits: readonly number[]): Process {
  for (const wait of waits) {
    log.push(name);
    yield wait;
  }
  log.push(`${name}.`);
}

async function runAll(timeline: Timeline): Promise<void> {
  while (timeline.nextAt !== undefined) await timeline.advance();
}

test("turns come by time, and at the same time in the order in which they were asked for", async () => {
  const timeline = new Timeline(1_000);
  const log: string[] = [];
  timeline.start(told(log, "a", [10, 10]));
  timeline.start(told(log, "b", [5, 5, 10]));
  await runAll(timeline);
  expect(log.join(" ")).toBe("a b b a b a. b.");
  expect(timeline.now).toBe(1_020);
});

test("time never goes back, whatever processes wait for", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(fc.nat(100))), async (all) => {
      const timeline = new Timeline(0);
      const times: number[] = [];
      for (const waits of all) {
        timeline.start(
          (async function* () {
            for (const wait of waits) {
              times.push(timeline.now);
              yield wait;
            }
          })(),
        );
      }
      await runAll(timeline);
      expect(times).toEqual(times.toSorted((a, b) => a - b));
    }),
  );
});

test("what a process throws reaches whoever moves the clock", async () => {
  const timeline = new Timeline(0);
  timeline.start(
    (async function* () {
      yield 1;
      throw new Error("boom");
    })(),
  );
  await expect(runAll(timeline)).rejects.toThrow("boom");
});

test("waiting for what never happens ends with an error", async () => {
  const timeline = new Timeline(0);
  timeline.start(timeline.until(() => false));
  await expect(runAll(timeline)).rejects.toThrow("never happens");
});

function uuids(seed: number): string[] {
  const random = new Random(seed);
  return Array.from({ length: 50 }, () => random.uuid());
}

test("a seed gives one sequence, its uuids are version 4", () => {
  expect(uuids(3)).toEqual(uuids(3));
  expect(uuids(3)).not.toEqual(uuids(4));
  for (const id of uuids(5)) {
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
});

test("numbers stay in their bounds and reach both of them", () => {
  const random = new Random(1);
  const drawn = Array.from({ length: 1_000 }, () => random.between(-2, 2));
  expect([...new Set(drawn)].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2]);
});

function cards(options: { divergent: boolean; endless: boolean }): Set<string> {
  return new Set(deck(new Random(9), options).take(100));
}

test("a hundred cards hold every workflow that the options allow", () => {
  const most = cards({ divergent: true, endless: false });
  expect(most.size).toBeGreaterThan(50);
  const safe = cards({ divergent: false, endless: true });
  expect([...most].filter((name) => !safe.has(name)).sort()).toEqual([
    "completesTwice",
    "overlappingConnections",
    "reapedThenCompletes",
    "rewriteBurst",
    "softDeleteBurst",
    "staysPending",
    "staysRunning",
  ]);
});

test("literals are escaped by type", () => {
  expect(
    sql`select ${"it's"}, ${"back\\slash"}, ${null}, ${1.5}, ${true}, ${Buffer.from("a")}`.text,
  ).toBe("select 'it''s',  E'back\\\\slash', null, 1.5, true, '\\x61'");
  expect(insert("t", { a: "x", at: time(1_787_300_000_123_456) }).text).toBe(
    "insert into t (a, at) values ('x', '2026-08-21 08:13:20.123456+00')",
  );
  expect(update("t", "7", { a: null }).text).toBe("update t set a = null where id = '7'");
});
