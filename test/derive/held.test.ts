// What is held of starts while tables are read: everything comes out as it was told, grouped by its build, some at a time.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { AgentRow } from "../../src/change/row.ts";
import { startOf } from "../../src/change/start.ts";
import { HeldStarts } from "../../src/derive/held.ts";
import type { ToldStart } from "../../src/derive/starts.ts";
import type { Event } from "../../src/derive/step.ts";
import { Random } from "../../src/demo/coder/random.ts";
import {
  AGENT_NAMES,
  END,
  START,
  TIMES,
  after,
  agentRow,
  buildEvent,
  uuid,
} from "../support/rows.ts";

const event = (row: Partial<AgentRow>, job: string, transition = "start"): Event => ({
  row: agentRow(row),
  end: END,
  names: AGENT_NAMES,
  times: { ...TIMES, job, transition },
  fromTables: true,
});

const all = (held: HeldStarts): ToldStart[] => [...held.take()].flat();

test("agents come out with their builds, whatever order they were told in", () => {
  const random = new Random(1);
  const ids = Array.from({ length: 40 }, () => random.uuid());
  const agent = fc.record({
    id: fc.uuid(),
    job: fc.constantFrom(...ids),
    lifecycle: fc.constantFrom("starting", "ready", "start_timeout", "start_error", "off"),
    readyAt: fc.option(fc.integer({ min: -1_000, max: 1_000 }).map((n) => after(n / 8))),
  });
  fc.assert(
    fc.property(fc.uniqueArray(agent, { selector: ({ id }) => id, maxLength: 400 }), (agents) => {
      const held = new HeldStarts();
      held.hold(agents.map(({ job, ...row }) => event(row, job)));
      const told = all(held).map(({ job, createdAt, agents: own }) => [
        job,
        createdAt,
        own.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
      ]);
      const expected = [...Map.groupBy(agents, ({ job }) => job)].map(([job, own]) => [
        job,
        START,
        own
          .map((row) => ({ id: row.id, start: startOf(row) }))
          .toSorted((a, b) => (a.id < b.id ? -1 : 1)),
      ]);
      expect(told).toEqual(expected.toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1)));
    }),
    { numRuns: 50 },
  );
});

test("sub-agents, agents of other builds and all other rows are not held", () => {
  const held = new HeldStarts();
  held.hold([
    buildEvent(),
    event({ parent: uuid(1) }, uuid(3)),
    event({}, uuid(3), "stop"),
    { row: agentRow(), end: END, names: null, times: null },
  ]);
  expect(all(held)).toEqual([]);
});

test("many are taken out in slices, and then are gone", () => {
  const held = new HeldStarts();
  const jobs = Array.from({ length: 1_200 }, (_, n) => uuid(n));
  held.hold(jobs.map((job, n) => event({ id: uuid(5_000 + n) }, job)));
  const slices = [...held.take()];
  expect(slices.map(({ length }) => length)).toEqual([500, 500, 200]);
  expect(slices.flat().map(({ job }) => job)).toEqual(jobs);
  expect(all(held)).toEqual([]);
});
