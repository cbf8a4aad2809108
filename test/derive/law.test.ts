// The law that lets every source share one derivation: rows of one workspace in causal order, everything else in any
// order, any number of times, from stream and tables, give the same facts and the same totals.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { Connected, Fact } from "../../src/derive/fact.ts";
import type { Event } from "../../src/derive/step.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../src/metrics/families/agents.ts";
import { refold } from "../../src/store/load.ts";
import { MemoryState, sortedPage } from "../support/memory-state.ts";
import { type Story, stories, tablesAfter } from "../support/stories.ts";

const CATALOG = createCatalog({ agentLabels: AGENT_LABELS });
const RUNS = { numRuns: 250 };

/** Endless choices, the same ones for the same seed. */
const choices = fc.array(fc.nat(0xffff), { minLength: 40, maxLength: 40 }).map((numbers) => {
  let at = 0;
  return (below: number): number => (numbers[(at += 1) % numbers.length] ?? 0) % below;
});
type Choose = (below: number) => number;

/** The rows of all workspaces, each in its own order, otherwise mixed. */
function mixed(told: readonly Story[], choose: Choose): Event[] {
  const rest = told.map(({ events }) => [...events]).filter((events) => events.length > 0);
  const all: Event[] = [];
  while (rest.length > 0) {
    const index = choose(rest.length);
    const [event] = rest[index]?.splice(0, 1) ?? [];
    if (event) all.push(event);
    if (rest[index]?.length === 0) rest.splice(index, 1);
  }
  return all;
}

/** Rows that came before come again, any of them, at any time. */
const repeated = (events: readonly Event[], choose: Choose): Event[] =>
  events.flatMap((event, index) => {
    const again = choose(3) === 0 ? events[choose(index + 1)] : undefined;
    return again ? [event, again] : [event];
  });

/** In batches of any size. */
function batches(events: readonly Event[], choose: Choose): Event[][] {
  const all: Event[][] = [];
  for (let at = 0; at < events.length;) {
    const size = 1 + choose(7);
    all.push(events.slice(at, at + size));
    at += size;
  }
  return all;
}

function commitAll(state: MemoryState, events: readonly Event[], choose: Choose): MemoryState {
  for (const batch of batches(events, choose)) state.take(batch);
  return state;
}

/** What the tables hold after these events, read as a baseline reads it. */
function readAll(state: MemoryState, events: readonly Event[], choose: Choose): readonly Fact[] {
  return state.takeTables(batches(tablesAfter(events), choose));
}

const ledgerOf = (state: MemoryState): readonly string[] =>
  [...state.facts()]
    .map((fact) => {
      if ("status" in fact) return `${fact.kind} ${fact.id} ${fact.status} ${fact.took}`;
      if (fact.kind === "connected") return `connected ${fact.id} ${fact.took} ${lightOf(fact)}`;
      return "took" in fact ? `${fact.kind} ${fact.id} ${fact.took}` : `${fact.kind} ${fact.id}`;
    })
    .sort();

function lightOf({ light, at }: Connected): string {
  if (light === null) return "none";
  const { prebuild, claimed } = light.traits;
  const type = prebuild ? "prebuild" : claimed === null ? "regular" : "claim";
  return [type, light.queued, light.provisioned, at - light.completedAt].join(" ");
}

/** The facts are those of the stories, and the totals are those of nothing but these facts. */
function expectLaw(state: MemoryState, told: readonly Story[]): void {
  expect(ledgerOf(state)).toEqual(told.flatMap(({ expected }) => expected).sort());
  const reference = new MemoryState(CATALOG);
  for (const { events } of told) reference.take(events);
  expect([...state.entities()].sort(byId)).toEqual([...reference.entities()].sort(byId));
  const page = sortedPage(reference.publish());
  expect(sortedPage(state.publish())).toEqual(page);
  expect(sortedPage(refold(CATALOG, state).publish())).toEqual(page);
}

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);

/** Checks one way of bringing the events of random workspaces to a ledger. */
function law(
  options: { rewrites: boolean },
  bring: (state: MemoryState, told: readonly Story[], choose: Choose) => void,
): void {
  fc.assert(
    fc.property(stories(options), choices, (told, choose) => {
      const state = new MemoryState(CATALOG);
      bring(state, told, choose);
      expectLaw(state, told);
    }),
    RUNS,
  );
}

test("workspaces commute", () => {
  law({ rewrites: true }, (state, told, choose) => {
    commitAll(state, mixed(told, choose), choose);
  });
});

test("rows may be repeated", () => {
  law({ rewrites: true }, (state, told, choose) => {
    commitAll(state, repeated(mixed(told, choose), choose), choose);
  });
});

test("a stream may be cut anywhere and replayed from anywhere before the cut", () => {
  law({ rewrites: true }, (state, told, choose) => {
    const events = mixed(told, choose);
    for (let cut = 0; cut < events.length;) {
      const from = Math.max(0, cut - choose(4));
      cut += 1 + choose(10);
      commitAll(state, events.slice(from, cut), choose);
      // Derived, and lost before its commit.
      state.stage(events.slice(cut, cut + choose(5)));
    }
  });
});

test("tables after the stream add nothing", () => {
  law({ rewrites: true }, (state, told, choose) => {
    const events = mixed(told, choose);
    commitAll(state, events, choose);
    expect(readAll(state, events, choose)).toEqual([]);
  });
});

test("a stream after the tables it led to adds nothing", () => {
  law({ rewrites: false }, (state, told, choose) => {
    const events = mixed(told, choose);
    readAll(state, events, choose);
    expect(state.take(events)).toEqual([]);
  });
});

test("tables at any moment and the stream from there, or from before, are one history", () => {
  law({ rewrites: false }, (state, told, choose) => {
    const events = mixed(told, choose);
    const moment = choose(events.length + 1);
    readAll(state, events.slice(0, moment), choose);
    commitAll(state, events.slice(Math.max(0, moment - choose(6))), choose);
  });
});

test("a gap of any length is healed by the tables", () => {
  law({ rewrites: false }, (state, told, choose) => {
    const events = mixed(told, choose);
    const before = choose(events.length + 1);
    const moment = before + choose(events.length - before + 1);
    commitAll(state, events.slice(0, before), choose);
    readAll(state, events.slice(0, moment), choose);
    commitAll(state, events.slice(moment), choose);
  });
});
