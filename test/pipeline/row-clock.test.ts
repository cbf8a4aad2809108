// How late it is to Coder: what the rows show, and never later than the server says.

import { expect, test } from "vitest";
import { RowClock } from "../../src/pipeline/row-clock.ts";
import { after, jobRow } from "../support/rows.ts";

test("as late as the latest time of any job", () => {
  const clock = new RowClock(after(9_999));
  expect(clock.now).toBe(Number.NEGATIVE_INFINITY);
  for (const [given, seconds] of [
    [{}, 0],
    [{ startedAt: after(5) }, 5],
    [{ startedAt: after(5), canceledAt: after(7) }, 7],
    [{ completedAt: after(30) }, 30],
    [{ createdAt: after(-60), completedAt: after(-1) }, 30],
  ] as const) {
    clock.see(jobRow(given));
    expect(clock.now).toBe(after(seconds));
  }
});

test("never later than the server says, and not known where the server does not say", () => {
  const clock = new RowClock(after(10));
  clock.see(jobRow({ completedAt: Number.MAX_SAFE_INTEGER }));
  expect(clock.now).toBe(after(10));
  const unknown = new RowClock(null);
  unknown.see(jobRow());
  expect(unknown.now).toBe(Number.NEGATIVE_INFINITY);
});
