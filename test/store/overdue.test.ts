// What the store knows of agents whose time is not up: as it was written, until it is told, also for the next process.

import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { type Event, step } from "../../src/derive/step.ts";
import { Store } from "../../src/store/store.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { CATALOG, series } from "../support/folding.ts";
import { AGENT_NAMES, END, after, agentRow, overdue, pendingAgent, uuid } from "../support/rows.ts";
import { POSITION, staged, write } from "../support/storing.ts";

const LIMIT = { timeout: 120 * SECOND, due: after(121) };
const waits = pendingAgent(LIMIT);
const anyTime = pendingAgent({ id: uuid(50) });
const due: Event = { row: { kind: "due", id: waits.id }, end: END };
const connects: Event = {
  row: agentRow({ isNew: false, firstConnectedAt: after(200) }),
  end: END,
  names: null,
  times: null,
};

function open(path: string): Store {
  const store = Store.open({ path, catalog: CATALOG });
  store.load();
  return store;
}

/** Derives and commits as one batch. */
function take(store: Store, ...events: readonly Event[]): void {
  const batch = staged(store, {});
  for (const event of events) batch.add(step(batch, event));
  using transaction = store.begin();
  transaction.add(batch);
  transaction.commit(POSITION);
}

test("who waits comes back with its time, and is told once, over a restart", async () => {
  await using folder = await temporaryFolder();
  const path = folder.path("overdue.db");
  {
    using store = open(path);
    write(store, { put: [waits, anyTime] });
    expect(store.ledger.state.pendingAgent(waits.id)).toEqual(waits);
  }
  {
    using store = open(path);
    expect([...store.ledger.deadlines()]).toEqual([{ agent: waits.id, due: LIMIT.due }]);
    take(store, due);
    expect([...store.ledger.deadlines()]).toEqual([]);
  }
  using store = open(path);
  expect([...store.ledger.deadlines()]).toEqual([]);
  expect([...store.ledger.facts()]).toEqual([overdue()]);
  expect(store.ledger.state.fact("overdue", waits.id)).toEqual(overdue());
  // It goes on waiting to connect.
  expect(store.counts.waiting.agent).toBe(2);
  expect(store.ledger.state.pendingAgent(waits.id)).toEqual({ ...waits, due: null });
  take(store, due, connects);
  expect(store.counts.waiting.agent).toBe(1);
  expect([...store.ledger.facts()].map(({ kind }) => kind).sort()).toEqual([
    "connected",
    "overdue",
  ]);
});

test("told and connected in one batch: it waits no more", async () => {
  await using folder = await temporaryFolder();
  using store = open(folder.path("overdue.db"));
  write(store, { put: [waits] });
  take(store, due, connects);
  expect([...store.ledger.entities()]).toEqual([]);
  expect(store.counts.waiting.agent).toBe(0);
  expect([...store.ledger.facts()].map(({ kind }) => kind).sort()).toEqual([
    "connected",
    "overdue",
  ]);
});

test("a write that is rolled back tells nothing", async () => {
  await using folder = await temporaryFolder();
  using store = open(folder.path("overdue.db"));
  write(store, { put: [waits] });
  const batch = staged(store, {});
  batch.add(step(batch, due));
  {
    using transaction = store.begin();
    transaction.add(batch);
  }
  store.load();
  expect([...store.ledger.deadlines()]).toHaveLength(1);
  expect([...store.ledger.facts()]).toEqual([]);
});

test("who waits is found by an index that holds nobody else", async () => {
  await using folder = await temporaryFolder();
  const path = folder.path("overdue.db");
  {
    using store = open(path);
    const others = Array.from({ length: 500 }, (_, n) => pendingAgent({ id: uuid(100 + n) }));
    write(store, { put: [waits, ...others] });
  }
  using db = new DatabaseSync(path, { readOnly: true });
  const plan = db
    .prepare("explain query plan select id, due from entity where due is not null")
    .all();
  expect(plan.map(({ detail }) => String(detail)).join()).toMatch(/entity_due/);
});

test("the series is born when an agent begins to wait, and counts what is told; folded again it is the same", async () => {
  await using folder = await temporaryFolder();
  const path = folder.path("overdue.db");
  const name = "firstlight_agents_connection_timeouts_total";
  const line = `{agent_name="main"}`;
  const shown = (totals: ReturnType<Store["load"]>["totals"]): readonly string[] =>
    series(totals, name);
  {
    using store = open(path);
    expect(shown(write(store, { put: [waits] }).totals)).toEqual([`${line} 0`]);
    expect(shown(write(store, { facts: [overdue()] }).totals)).toEqual([`${line} 1`]);
    expect(shown(write(store, { facts: [overdue()] }).totals)).toEqual([`${line} 1`]);
    const other = overdue({ id: uuid(9), names: { ...AGENT_NAMES, username: "bob" } });
    expect(shown(write(store, { facts: [other] }).totals)).toEqual([`${line} 2`]);
  }
  const db = new DatabaseSync(path);
  db.exec("delete from meta where key = 'catalog'");
  db.close();
  using store = open(path);
  expect(shown(store.load().totals)).toEqual([`${line} 2`]);
});
