// Starts in the store: facts and what waits come back as they were written, what waits changes, and differences are told.

import { expect, test } from "vitest";
import { DatabaseSync } from "node:sqlite";
import { SECOND } from "../../src/change/micros.ts";
import { type FactQuery, searchFacts } from "../../src/store/query.ts";
import { Comparison } from "../../src/store/compare.ts";
import { Store } from "../../src/store/store.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { CATALOG } from "../support/folding.ts";
import { END, TRAITS, after, ended, pendingStart, ready, uuid } from "../support/rows.ts";
import { POSITION, write } from "../support/storing.ts";

const facts = [
  ready(),
  ready({ id: uuid(30), status: "timeout", took: -2 }),
  ready({ id: uuid(31), status: "error", traits: { ...TRAITS, prebuild: true } }),
];
const waits = pendingStart({
  id: uuid(32),
  agents: [
    { id: uuid(5), start: null },
    { id: uuid(6), start: { at: after(40), status: "timeout" } },
    { id: uuid(7), start: { at: after(50), status: null } },
  ],
});

const ANY: FactQuery = {
  kinds: ["ended", "ready"],
  statuses: null,
  stages: null,
  errorCodes: null,
  builds: null,
  since: null,
  until: null,
  before: null,
  limit: 10,
};

function open(path: string): Store {
  const store = Store.open({ path, catalog: CATALOG });
  store.load();
  return store;
}

const byId = (a: { id: string }, b: { id: string }): number => a.id.localeCompare(b.id);

test("facts and what waits come back as they were written", async () => {
  await using folder = await temporaryFolder();
  using store = open(folder.path("starts.db"));
  write(store, { facts, put: [waits] });
  store.load();
  expect([...store.ledger.facts()].sort(byId)).toEqual(facts);
  expect([...store.ledger.entities()]).toEqual([waits]);
  expect(store.ledger.state.pendingStart(waits.id)).toEqual(waits);
  expect(store.ledger.state.known("ready", uuid(30))).toBe(true);
  expect(store.counts.waiting.start).toBe(1);
});

test("what waits is stored anew when its agents have come further, and counted once", async () => {
  await using folder = await temporaryFolder();
  using store = open(folder.path("starts.db"));
  write(store, { put: [waits] });
  const further = { ...waits, agents: [{ id: uuid(5), start: null }] };
  write(store, { put: [further] });
  expect(store.ledger.state.pendingStart(waits.id)).toEqual(further);
  expect(store.counts.waiting.start).toBe(1);
  write(store, { put: [waits], drop: [waits] });
  expect(store.ledger.state.pendingStart(waits.id)).toBeUndefined();
  expect(store.counts.waiting.start).toBe(0);
});

test("what the tables say otherwise is listed, and what they no longer tell is not held against them", async () => {
  await using folder = await temporaryFolder();
  using store = open(folder.path("starts.db"));
  write(store, { facts });
  const [one, late, failed] = facts.map(({ id, at, took }) => ({
    kind: "ready" as const,
    id,
    at,
    took,
  }));
  const listed = (): string[] => [...store.ledger.divergent()].map(({ id }) => id).sort();
  write(store, { sightings: [one, late, failed].flatMap((seen) => seen ?? []) });
  expect(listed()).toEqual([]);
  write(store, { sightings: [{ kind: "ready", id: uuid(3), at: null }] });
  write(store, {
    sightings: [
      { kind: "ready", id: uuid(30), at: after(200), took: 200 * SECOND, status: "success" },
      { kind: "ready", id: uuid(31), at: after(90), took: 90 * SECOND, status: "success" },
    ],
  });
  expect(listed()).toEqual([uuid(3), uuid(30), uuid(31)]);
});

test("verify holds ids, times and statuses together, as far as the tables tell", async () => {
  await using folder = await temporaryFolder();
  const path = folder.path("starts.db");
  {
    using store = open(path);
    write(store, { facts });
  }
  const differ = (...told: Parameters<Comparison["tell"]>[0]): string[] => {
    using comparison = new Comparison(path);
    comparison.tell(told);
    const anyTime = { decided: Number.POSITIVE_INFINITY, told: Number.POSITIVE_INFINITY };
    return [...comparison.differences(POSITION.end, anyTime)].flat().map(({ id }) => id);
  };
  expect(differ(...facts)).toEqual([]);
  const untold = facts.map(({ id, at, took }) => ({ kind: "ready" as const, id, at, took }));
  expect(differ(...untold)).toEqual([]);
  const [first, ...rest] = facts;
  expect(differ(ready({ status: "error" }), ...rest)).toEqual([first?.id]);
  expect(differ(ready({ took: 1 }), ...rest)).toEqual([first?.id]);
  expect(differ(...rest)).toEqual([first?.id]);
});

test("they are found by how they went, beside the ends of jobs", async () => {
  await using folder = await temporaryFolder();
  const path = folder.path("starts.db");
  {
    using store = open(path);
    write(store, { facts: [...facts, ended({ id: uuid(40) })] });
  }
  const found = (asked: Partial<FactQuery>): string[] => {
    const steps = searchFacts(path, { ...ANY, ...asked });
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value.facts.map(({ fact }) => fact.id).sort();
    }
  };
  expect(found({ statuses: ["timeout", "error"] })).toEqual([uuid(30), uuid(31)]);
  expect(found({ statuses: ["success"] })).toEqual([uuid(3), uuid(40)]);
  expect(found({ builds: ["prebuild"] })).toEqual([uuid(31)]);
  expect(found({ errorCodes: [""] })).toEqual([uuid(40)]);
});

test("a ledger of before there were starts lacks them until it has been through a baseline", async () => {
  await using folder = await temporaryFolder();
  const path = folder.path("starts.db");
  {
    using store = open(path);
    write(store, { facts: [ended()] });
  }
  const db = new DatabaseSync(path);
  db.exec("insert into meta values ('lacks', 'deletions')");
  db.close();
  using store = open(path);
  expect(store.ledger.complete).toBe(false);
  using transaction = store.begin();
  transaction.complete({ facts: [], put: [] });
  transaction.commit({ ...POSITION, end: END });
  expect(store.ledger.complete).toBe(true);
});
