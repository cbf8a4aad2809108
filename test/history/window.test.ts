// The grid and its cuts: multiples of the step, and blocks as Prometheus has them.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SECOND, parseTimestamptz } from "../../src/change/micros.ts";
import {
  blockLengthFor,
  blocksOf,
  exactWindow,
  stepFor,
  steppedWindow,
  tickOf,
} from "../../src/history/window.ts";

const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;
const AT = parseTimestamptz("2026-08-21 10:00:00+00");
const lasting = (length: number): { since: number; until: number } => ({
  since: AT,
  until: AT + length,
});

test.each([
  [DAY, 60, 2],
  [DAY + 1, 300, 18],
  [14 * DAY, 300, 18],
  [14 * DAY + 1, 3_600, 54],
  [120 * DAY, 3_600, 54],
  [365 * DAY, 3_600, 162],
  [10 * 365 * DAY, 3_600, 486],
])("a window of %d µs has a step of %d s and blocks of %d h", (length, seconds, hours) => {
  expect(stepFor(lasting(length))).toBe(seconds * SECOND);
  expect(blockLengthFor(lasting(length))).toBe(hours * HOUR);
});

test("ticks are multiples of the step since the epoch, within the window", () => {
  const window = steppedWindow({ since: AT + 1, until: AT + 10 * 60 * SECOND - 1 }, 60 * SECOND);
  expect(window.first * window.tick).toBe(AT + 60 * SECOND);
  expect(window.last * window.tick).toBe(AT + 9 * 60 * SECOND);
});

test("what happens at a tick is in it, what happens a microsecond later in the next", () => {
  const window = steppedWindow(lasting(DAY), 60 * SECOND);
  expect(tickOf(AT, window) * window.tick).toBe(AT);
  expect(tickOf(AT + 1, window) * window.tick).toBe(AT + 60 * SECOND);
});

test("exact windows count in milliseconds, with the step as lead", () => {
  const window = exactWindow({ since: AT + 1, until: AT + 2_999 }, 60 * SECOND, false);
  expect(window).toEqual({
    tick: 1_000,
    first: AT / 1_000 + 1,
    last: AT / 1_000 + 2,
    lead: 60_000,
    grid: null,
  });
});

describe("blocks", () => {
  test("have every tick of the window once, each within its borders, which are multiples of the length", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1e6, max: 2e9 }),
        fc.integer({ min: 0, max: 3e6 }),
        fc.constantFrom(1, 15, 60, 300, 3_600, 86_400),
        fc.constantFrom(2, 6, 18, 54, 162),
        (sinceSeconds, seconds, step, hours) => {
          const since = sinceSeconds * SECOND;
          const window = steppedWindow({ since, until: since + seconds * SECOND }, step * SECOND);
          const length = hours * HOUR;
          let next = window.first;
          for (const { start, first, last } of blocksOf(window, length)) {
            expect(Math.abs(start % length)).toBe(0);
            expect(first === next).toBe(true);
            expect(first * window.tick).toBeGreaterThanOrEqual(start);
            expect(last * window.tick).toBeLessThan(start + length);
            next = last + 1;
          }
          expect(next === Math.max(window.first, window.last + 1)).toBe(true);
        },
      ),
    );
  });

  test("a border belongs to the later one", () => {
    const border = Math.ceil(AT / (2 * HOUR)) * 2 * HOUR;
    const window = steppedWindow({ since: border - HOUR, until: border + HOUR }, HOUR);
    expect(
      [...blocksOf(window, 2 * HOUR)].map(({ first, last }) => [first * HOUR, last * HOUR]),
    ).toEqual([
      [border - HOUR, border - HOUR],
      [border, border + HOUR],
    ]);
  });
});
