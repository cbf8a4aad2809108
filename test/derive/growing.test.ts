// Starts whose lists of agents share what they have in common are values all the same.

import { expect, test } from "vitest";
import { isAmong, withAgent } from "../../src/derive/growing.ts";
import type { PendingStart } from "../../src/derive/state.ts";
import { pendingStart } from "../support/rows.ts";

const ID = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const agent = (n: number) => ({ id: ID(n), start: null });
const idsOf = ({ agents }: PendingStart): number[] => agents.map(({ id }) => Number(id.slice(-12)));

test("an older start keeps its list while a newer one grows, and grows another way by itself", () => {
  const none = { ...pendingStart(), agents: [] };
  const one = withAgent(none, agent(1));
  const two = withAgent(one, agent(2));
  const other = withAgent(one, agent(3));
  const more = withAgent(other, agent(2));
  expect([none, one, two, other, more].map(idsOf)).toEqual([[], [1], [1, 2], [1, 3], [1, 3, 2]]);
  expect([one, two, other, more].map((start) => isAmong(start, ID(2)))).toEqual([
    false,
    true,
    false,
    true,
  ]);
  expect(two).toEqual({ ...none, agents: [agent(1), agent(2)] });
});

/** In milliseconds. */
function grow(count: number): number {
  let start: PendingStart = { ...pendingStart(), agents: [] };
  const began = performance.now();
  for (let n = 0; n < count; n += 1) {
    if (isAmong(start, ID(n))) throw new Error("is there already");
    start = withAgent(start, agent(n));
  }
  const took = performance.now() - began;
  expect(start.agents).toHaveLength(count);
  return took;
}

test("twenty thousand agents of one build cost as much each as a few", () => {
  grow(2_000);
  const few = grow(2_000);
  // Ten times as many; by their square it would be a hundred times as long.
  expect(grow(20_000)).toBeLessThan(40 * Math.max(few, 5));
});
