// Agents that had not connected when their time was up: which are told so, once, by whom, and what is listed when their rows say
// something else afterwards.

import { describe, expect, test } from "vitest";
import { type Micros, SECOND } from "../../src/change/micros.ts";
import type { AgentRow } from "../../src/change/row.ts";
import type { Sighting } from "../../src/derive/fact.ts";
import { NOTHING_KNOWN } from "../../src/derive/state.ts";
import { type Event, step } from "../../src/derive/step.ts";
import { CATALOG } from "../support/folding.ts";
import { MemoryState } from "../support/memory-state.ts";
import { AGENT_NAMES, END, after, agentRow, overdue, pendingAgent, uuid } from "../support/rows.ts";

const TIMEOUT = 120 * SECOND;
const LIMIT = { timeout: TIMEOUT, due: after(121) };
const told = overdue();
const renamed = { ...AGENT_NAMES, template: "renamed" };

const born = (row: Partial<AgentRow> = {}): Event => ({
  row: agentRow(row),
  end: END,
  names: AGENT_NAMES,
  times: null,
  limit: LIMIT,
});
const unlimited: Event = { row: agentRow(), end: END, names: AGENT_NAMES, times: null };
const connects = (at: Micros): Event => ({
  row: agentRow({ isNew: false, firstConnectedAt: at }),
  end: END,
  names: null,
  times: null,
});
const due: Event = { row: { kind: "due", id: uuid(5) }, end: END };
const gone: Event = { row: { kind: "gone", table: "workspace_agents", id: uuid(5) }, end: END };
/** As tables tell it, by the names of today. */
const read = (firstConnectedAt: Micros | null, limit: typeof LIMIT | null = LIMIT): Event => ({
  row: agentRow({ firstConnectedAt }),
  end: END,
  names: renamed,
  times: null,
  fromTables: true,
  ...(limit && { limit }),
});

/** The ledger after these batches, and what the last one led to. */
function ledgerAfter(...batches: readonly (readonly Event[])[]): {
  readonly facts: readonly string[];
  readonly sightings: readonly Sighting[];
  readonly state: MemoryState;
} {
  const state = new MemoryState(CATALOG);
  let sightings: readonly Sighting[] = [];
  for (const events of batches) {
    const staged = state.stage(events);
    state.commit(staged);
    sightings = staged.sightings.filter(({ kind }) => kind === "overdue");
  }
  const facts = [...state.facts()].map(({ kind }) => kind).sort();
  return { facts, sightings, state };
}

describe("an agent", () => {
  test("that still waits when its time is up is overdue, with what it was born with, and goes on waiting", () => {
    const { facts, state } = ledgerAfter([born()], [due]);
    expect(facts).toEqual(["overdue"]);
    expect(state.fact("overdue", uuid(5))).toEqual(told);
    expect([...state.entities()]).toEqual([pendingAgent({ timeout: TIMEOUT })]);
  });

  test("is told so once", () => {
    expect(ledgerAfter([born()], [due], [due, due]).facts).toEqual(["overdue"]);
    expect(ledgerAfter([born(), due, due]).facts).toEqual(["overdue"]);
  });

  test.each([
    ["just before its time is up", after(120) - 1, ["connected"]],
    ["at that very moment, as Coder has it", after(120), ["connected"]],
    ["just after", after(120) + 1, ["connected", "overdue"]],
    ["before it was created, by another clock", after(-3), ["connected"]],
  ])("that connects %s", (_when, at, expected) => {
    expect(ledgerAfter([born()], [connects(at)]).facts).toEqual(expected);
    expect(ledgerAfter([born(), connects(at)]).facts).toEqual(expected);
    expect(ledgerAfter([born({ firstConnectedAt: at })]).facts).toEqual(expected);
    expect(ledgerAfter([read(at)]).facts).toEqual(expected);
    // Noticed too late to matter.
    expect(ledgerAfter([born()], [connects(at)], [due]).facts).toEqual(expected);
  });

  test("that connects late is overdue once, whether that was noticed before or not", () => {
    for (const batches of [
      [[born()], [due], [connects(after(200))]],
      [[born()], [due, connects(after(200))]],
      [[born(), due, connects(after(200))]],
      [[born()], [connects(after(200))], [connects(after(200)), due]],
    ]) {
      const { facts, state } = ledgerAfter(...batches);
      expect(facts).toEqual(["connected", "overdue"]);
      expect(state.fact("overdue", uuid(5))).toEqual(told);
      expect([...state.entities()]).toEqual([]);
    }
  });

  test("without a limit never is", () => {
    expect(ledgerAfter([unlimited], [due]).facts).toEqual([]);
    expect(ledgerAfter([unlimited], [connects(after(9_999))]).facts).toEqual(["connected"]);
    expect(ledgerAfter([read(after(9_999), null)]).facts).toEqual(["connected"]);
    expect(ledgerAfter([read(null, null)], [due]).facts).toEqual([]);
  });

  test("that nobody has told of never is", () => {
    expect(ledgerAfter([due]).facts).toEqual([]);
    expect(ledgerAfter([connects(after(200))]).facts).toEqual([]);
  });

  test("whose row is deleted before is not", () => {
    expect(ledgerAfter([born()], [gone], [due]).facts).toEqual([]);
    expect(ledgerAfter([born(), gone, due]).facts).toEqual([]);
  });

  test("a replayed birth begins nothing anew", () => {
    expect(ledgerAfter([born()], [due], [born(), due]).facts).toEqual(["overdue"]);
    const { facts, state } = ledgerAfter([born()], [connects(after(50))], [born(), due]);
    expect(facts).toEqual(["connected"]);
    expect([...state.entities()]).toEqual([]);
  });

  test("times at both ends of the calendar can be stored", () => {
    const createdAt = Number.MAX_SAFE_INTEGER;
    const { state } = ledgerAfter([born({ createdAt })], [due]);
    expect(state.fact("overdue", uuid(5))?.at).toBe(Number.MAX_SAFE_INTEGER);
  });
});

describe("the tables", () => {
  test("tell the same: that it waits, that it was late, with nothing before", () => {
    expect(ledgerAfter([read(null), due]).state.fact("overdue", uuid(5))).toEqual({
      ...told,
      names: renamed,
    });
    expect(ledgerAfter([read(null)]).facts).toEqual([]);
  });

  test("fill in what an older version did not tell, by the names that were counted", () => {
    const { facts, state } = ledgerAfter([unlimited], [connects(after(200))], [read(after(200))]);
    expect(facts).toEqual(["connected", "overdue"]);
    expect(state.fact("overdue", uuid(5))).toEqual(told);
  });

  test("do not make late what was in time when it was counted", () => {
    const { facts } = ledgerAfter([born()], [connects(after(119))], [read(after(121))]);
    expect(facts).toEqual(["connected"]);
  });

  test("add nothing to what is told", () => {
    const again = [read(null), due];
    expect(ledgerAfter([born()], [due], again).facts).toEqual(["overdue"]);
    expect(ledgerAfter([born()], [connects(after(200))], [read(after(200))]).facts).toEqual([
      "connected",
      "overdue",
    ]);
  });
});

describe("an overdue agent whose row says", () => {
  const inTime: Sighting = { kind: "overdue", id: uuid(5), at: null };
  const late: Sighting = { kind: "overdue", id: uuid(5), at: after(120), took: TIMEOUT };

  test.each<[string, readonly Event[], Sighting]>([
    ["a connection in time: a commit that took longer", [connects(after(119))], inTime],
    ["the same in the tables", [read(after(119))], inTime],
    ["a late connection", [connects(after(200))], late],
    ["the same in the tables", [read(after(200))], late],
    ["nothing, in the tables", [read(null)], late],
    ["that it may take any time, in the tables", [read(null, null)], inTime],
    ["that it may take any time, and connected, in the tables", [read(after(200), null)], inTime],
    ["it is gone", [gone], { kind: "overdue", id: uuid(5), gone: true }],
  ])("%s, stays counted, and is compared", (_what, events, sighting) => {
    const { facts, sightings } = ledgerAfter([born()], [due], events);
    expect(facts).toContain("overdue");
    expect(sightings).toEqual([sighting]);
  });

  test("by turns what two overlapping connections say, when it waits no more", () => {
    const before = [[born()], [due], [connects(after(119))]];
    expect(ledgerAfter(...before, [connects(after(121))]).sightings).toEqual([late]);
    expect(ledgerAfter(...before, [connects(after(118))]).sightings).toEqual([inTime]);
  });
});

test("without a ledger, as `verify` derives, one batch tells it all", () => {
  expect(step(NOTHING_KNOWN, read(after(200))).facts).toHaveLength(2);
  expect(step(NOTHING_KNOWN, due).facts).toEqual([]);
});
