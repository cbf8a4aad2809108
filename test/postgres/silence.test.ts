// When silence is asked after, by the clock alone. With real servers: test/ledgers/silent.pg.test.ts, test/faults/network/silence.e2e.test.ts.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Session } from "../../src/postgres/session.ts";
import { Silence } from "../../src/postgres/silence.ts";

const SILENCE_MS = 4_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A session that is told of the query in this state; null: it is gone. */
function watched(state: () => string | null) {
  const told = { asked: 0, running: 0, silent: [] as unknown[] };
  const query = async () => {
    told.asked += 1;
    const now = state();
    return now === null ? [] : [{ state: now }];
  };
  const silence = new Silence({
    beside: { query } as unknown as Session,
    pid: 1,
    silenceMs: SILENCE_MS,
    onSilent: (error) => told.silent.push(error),
    onRunning: () => void (told.running += 1),
  });
  return { silence, told };
}

test("a query that was lost just after the watch began is noticed a second late at most, not twice as late", async () => {
  const { silence, told } = watched(() => null);
  using _ = silence;
  await vi.advanceTimersByTimeAsync(1);
  silence.waits();
  await vi.advanceTimersByTimeAsync(SILENCE_MS - 2);
  expect(told.asked).toBe(0);
  await vi.advanceTimersByTimeAsync(1_001);
  expect(told.silent).toHaveLength(1);
  expect(String(told.silent[0])).toContain("silent");
  // Whoever was told has given it up.
  await vi.advanceTimersByTimeAsync(10 * SILENCE_MS);
  expect(told.silent).toHaveLength(1);
});

test("a query that runs on is asked after once in that time, and no more often", async () => {
  const { silence, told } = watched(() => "active");
  using _ = silence;
  silence.waits();
  await vi.advanceTimersByTimeAsync(10 * SILENCE_MS);
  expect(told).toMatchObject({ silent: [], running: told.asked });
  expect(told.asked).toBeGreaterThanOrEqual(8);
  expect(told.asked).toBeLessThanOrEqual(10);
});

test("what rests is not asked after", async () => {
  const { silence, told } = watched(() => null);
  using _ = silence;
  silence.waits();
  await vi.advanceTimersByTimeAsync(SILENCE_MS / 2);
  silence.rests();
  await vi.advanceTimersByTimeAsync(10 * SILENCE_MS);
  expect(told.asked).toBe(0);
});
