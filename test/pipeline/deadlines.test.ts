// Deadlines come in order, each once, and not before their time and grace.

import fc from "fast-check";
import { expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { Deadlines, graceOf } from "../../src/pipeline/deadlines.ts";
import { after, pendingAgent, pendingBuild, uuid } from "../support/rows.ts";

const GRACE = 30 * SECOND;

test("an agent is told of once, when its time and the grace have passed", () => {
  const deadlines = new Deadlines([{ agent: uuid(1), due: after(60) }], GRACE);
  expect([...deadlines.passed(null)]).toEqual([]);
  expect([...deadlines.passed(after(90) - 1)]).toEqual([]);
  expect([...deadlines.passed(after(90))]).toEqual([uuid(1)]);
  expect([...deadlines.passed(after(9_999))]).toEqual([]);
  expect(deadlines.size).toBe(0);
});

test("of what begins to wait, agents that have a time are taken", () => {
  const deadlines = new Deadlines([], 0);
  deadlines.add([
    pendingBuild(),
    pendingAgent({ id: uuid(1) }),
    pendingAgent({ id: uuid(2), timeout: SECOND, due: after(2) }),
    // It is told already.
    pendingAgent({ id: uuid(3), timeout: SECOND, due: null }),
  ]);
  expect([...deadlines.passed(after(9_999))]).toEqual([uuid(2)]);
});

test("any number of them, added at any time, come in the order of their times", () => {
  const moves = fc.array(fc.oneof(fc.nat(50), fc.constant("look" as const)), { maxLength: 200 });
  fc.assert(
    fc.property(moves, fc.array(fc.nat(50), { maxLength: 60 }), (all, first) => {
      let id = 0;
      const made = (seconds: number) => ({ agent: uuid((id += 1)), due: after(seconds) });
      const waits = first.map(made);
      const deadlines = new Deadlines(waits, 0);
      let now = 0;
      for (const move of [...all, 51]) {
        if (move === "look" || move === 51) {
          now = move === 51 ? 51 : now + 1;
          const at = after(now);
          const expected = waits.filter(({ due }) => due <= at).map(({ due }) => due);
          const told = [...deadlines.passed(at)];
          const dues = told.map((agent) => waits.find((each) => each.agent === agent)?.due);
          expect(dues).toEqual(expected.sort((a, b) => a - b));
          for (const agent of told)
            waits.splice(
              waits.findIndex((each) => each.agent === agent),
              1,
            );
        } else {
          const { agent, due } = made(move);
          waits.push({ agent, due });
          deadlines.add([pendingAgent({ id: agent, timeout: SECOND, due })]);
        }
      }
      expect([waits.length, deadlines.size]).toEqual([0, 0]);
    }),
  );
});

test("half a minute, unless a test says otherwise", () => {
  expect(graceOf(undefined)).toBe(GRACE);
  expect(graceOf({ graceMs: -5 })).toBe(-5_000);
});
