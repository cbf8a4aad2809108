// The write of a baseline: as large as the ledger, in slices, and nothing of its appetite stays behind.

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import type { AgentNames, Fact } from "../../src/derive/fact.ts";
import { refold } from "../../src/store/load.ts";
import { Store } from "../../src/store/store.ts";
import { lifeOf } from "../history/support/deployment.ts";
import { toLsn } from "../../src/lsn.ts";
import { CATALOG } from "../support/folding.ts";
import { sortedPage } from "../support/memory-state.ts";
import { AGENT_NAMES, connected, pendingAgent, uuid } from "../support/rows.ts";
import { POSITION, staged, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-bulk-"));
let path = "";
let count = 0;
beforeEach(() => {
  path = join(root, `${(count += 1)}.db`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function open(): Store {
  const store = Store.open({ path, catalog: CATALOG });
  store.load();
  return store;
}

/** One agent each of this many workspaces: as many facts, names and series. */
const agents = (from: number, to: number): Fact[] =>
  Array.from({ length: to - from }, (_, i) =>
    connected({
      id: uuid(from + i),
      names: { ...AGENT_NAMES, workspace: `workspace-${from + i}` },
    }),
  );

const namesOf = (fact: Fact | undefined): AgentNames =>
  fact?.kind === "connected" ? fact.names : AGENT_NAMES;

const wal = (): number => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;

test("totals that are settled in slices are those of one commit, what is counted in between included", () => {
  const facts = agents(0, 3_500);
  {
    using store = open();
    using bulk = store.begin({ bulk: true });
    bulk.add(staged(store, { facts: facts.slice(0, 3_000) }));
    let slices = 0;
    for (const _ of bulk.settle()) {
      slices += 1;
      // A series that is written already, and new ones.
      const again = connected({ id: uuid(9_000 + slices), names: namesOf(facts[slices]) });
      bulk.add(
        staged(store, {
          facts: [again, ...facts.slice(2_900 + slices * 100, 3_000 + slices * 100)],
        }),
      );
    }
    expect(slices).toBeGreaterThan(2);
    bulk.add(staged(store, { facts }));
    const page = sortedPage(bulk.commit(POSITION));
    expect(sortedPage(refold(CATALOG, store.ledger).publish())).toEqual(page);
  }
  using store = open();
  expect([...store.ledger.facts()].length).toBeGreaterThan(3_500);
  expect(sortedPage(store.load().totals)).toEqual(
    sortedPage(refold(CATALOG, store.ledger).publish()),
  );
});

test("the write-ahead file is empty again afterwards, and the next write is durable as ever", () => {
  {
    using store = open();
    {
      using bulk = store.begin({ bulk: true });
      bulk.add(staged(store, { facts: agents(0, 20_000) }));
      bulk.commit(POSITION);
      expect(wal()).toBeGreaterThan(1 << 20);
    }
    expect(wal()).toBe(0);
    write(store, { facts: agents(20_000, 20_001) });
    expect(wal()).toBeGreaterThan(0);
  }
  using store = open();
  expect([...store.ledger.facts()]).toHaveLength(20_001);
});

test("one that is given up leaves nothing", () => {
  using store = open();
  const before = [...store.ledger.storedSeries()];
  {
    using bulk = store.begin({ bulk: true });
    bulk.add(staged(store, { facts: agents(0, 20_000), put: [pendingAgent()] }));
    for (const _ of bulk.settle());
  }
  store.load();
  expect(store.empty).toBe(true);
  expect(wal()).toBe(0);
  expect([...store.ledger.storedSeries()]).toEqual(before);
  // Names that were never stored among them.
  write(store, { facts: agents(5, 6) });
  expect([...store.ledger.facts()]).toEqual(agents(5, 6));
});

test("positions beyond an end are moved to it, whatever the kind and the id, and no others", () => {
  const life = { organizations: 2, templates: 3, builds: 200, agents: 100, from: 0, until: 1e12 };
  const facts = [...lifeOf(life)].map((fact, i): Fact => {
    const id = `${((i * 97) % 256).toString(16).padStart(2, "0")}${fact.id.slice(2)}`;
    return { ...fact, id, end: toLsn(BigInt(i)) };
  });
  const end = toLsn(BigInt(Math.floor(facts.length / 2)));
  using store = open();
  write(store, { facts });
  {
    using bulk = store.begin({ bulk: true });
    for (const _ of bulk.rebase(end));
    bulk.commit(POSITION);
  }
  const moved = new Map(facts.map((fact) => [`${fact.kind} ${fact.id}`, fact.end]));
  const found = [...store.ledger.facts()];
  expect(found).toHaveLength(facts.length);
  for (const fact of found) {
    const before = moved.get(`${fact.kind} ${fact.id}`) ?? end;
    expect(fact.end).toBe(before > end ? end : before);
  }
});

test("a store is empty until something is counted or waits", () => {
  using store = open();
  expect(store.empty).toBe(true);
  write(store, {});
  expect(store.empty, "a position is no row").toBe(true);
  write(store, { put: [pendingAgent()] });
  expect(store.empty).toBe(false);
  write(store, { drop: [pendingAgent()] });
  expect(store.empty).toBe(true);
  write(store, { facts: agents(0, 1) });
  expect(store.empty).toBe(false);
});
