// Facts that are set aside while the tables are read, and go to their places together: no other ledger, and no other totals, than one by one.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeEach, expect, test } from "vitest";
import type { Fact } from "../../src/derive/fact.ts";
import { refold } from "../../src/store/load.ts";
import { Store } from "../../src/store/store.ts";
import type { Write } from "../../src/store/write.ts";
import { lifeOf } from "../history/support/deployment.ts";
import { CATALOG } from "../support/folding.ts";
import { sortedPage } from "../support/memory-state.ts";
import { POSITION, staged } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-aside-"));
let path = "";
let count = 0;
beforeEach(() => {
  path = join(root, `${(count += 1)}.db`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const DAY = 86_400_000_000;
/** Ids all over, as those of rows are: `lifeOf` counts them up. */
const FACTS = [
  ...lifeOf({ organizations: 2, templates: 3, builds: 400, agents: 200, from: 0, until: DAY }),
].map((fact, index): Fact => ({ ...fact, id: scattered(fact.id, index) }));

function scattered(id: string, index: number): string {
  return `${((index * 97) % 256).toString(16).padStart(2, "0")}${id.slice(2)}`;
}

function open(): Store {
  const store = Store.open({ path, catalog: CATALOG });
  store.load();
  return store;
}

/** Adds these facts some at a time. */
function add(store: Store, write: Write, facts: readonly Fact[]): void {
  for (let from = 0; from < facts.length; from += 100)
    write.add(staged(store, { facts: facts.slice(from, from + 100) }));
}

/** What is in the ledger, in the order of the file. */
const rows = (): unknown[] => {
  using db = new DatabaseSync(path, { readOnly: true });
  return db.prepare("select * from fact").all();
};

/** Tables of the file that no migration makes. */
const left = (): unknown[] => {
  using db = new DatabaseSync(path, { readOnly: true });
  return db.prepare("select name from sqlite_schema where name like 'aside%'").all();
};

test("the ledger and the totals are those of facts that were put in their places one by one", () => {
  const inTurn = (aside: boolean) => {
    using store = open();
    using write = store.begin({ bulk: true });
    if (aside) write.setAside();
    add(store, write, FACTS.slice(0, 900));
    if (aside) expect([...write.place()].length).toBeGreaterThan(16);
    add(store, write, FACTS.slice(900));
    const page = sortedPage(write.commit(POSITION));
    expect(sortedPage(refold(CATALOG, store.ledger).publish())).toEqual(page);
    return { page, rows: rows() };
  };
  const directly = inTurn(false);
  path += "-aside";
  expect(inTurn(true)).toEqual(directly);
  expect(directly.rows).toHaveLength(FACTS.length);
  expect(left()).toEqual([]);
});

test("what is set aside is found once it is in its place", () => {
  using store = open();
  using write = store.begin({ bulk: true });
  write.setAside();
  const [fact] = FACTS.filter(({ kind }) => kind === "ended");
  add(store, write, FACTS);
  const { state } = store.ledger;
  expect(state.ended(fact?.id ?? "")).toBeUndefined();
  for (const _ of write.place());
  expect(state.ended(fact?.id ?? "")).toEqual(fact);
});

test("whether a workspace was created is known at once", () => {
  using store = open();
  using write = store.begin({ bulk: true });
  write.setAside();
  const [created] = FACTS.filter(({ kind }) => kind === "created");
  add(store, write, FACTS);
  expect(store.ledger.state.known("created", created?.id ?? "")).toBe(true);
});

test.each([
  // Apart: what is found once has all folded again, which would hide that the other was overlooked.
  ["both are set aside", true],
  ["it is in its place already", false],
])("a fact that comes twice counts once: %s", (_, together) => {
  const twice = FACTS.find(({ kind }) => kind === "ended") as Fact;
  using store = open();
  {
    using write = store.begin({ bulk: true });
    write.setAside();
    add(store, write, FACTS);
    if (!together) for (const __ of write.place());
    add(store, write, [twice]);
    const page = sortedPage(write.commit(POSITION));
    expect(sortedPage(refold(CATALOG, store.ledger).publish())).toEqual(page);
  }
  expect([...store.ledger.facts()]).toHaveLength(FACTS.length);
  expect(sortedPage(store.load().totals)).toEqual(
    sortedPage(refold(CATALOG, store.ledger).publish()),
  );
});

test("what was put in its place before a commit that comes halfway is counted once, too", () => {
  const [twice] = FACTS.filter(({ kind }) => kind === "attempted");
  using store = open();
  using write = store.begin({ bulk: true });
  write.setAside();
  add(store, write, [...FACTS, twice] as Fact[]);
  const steps = write.place();
  for (let parts = 0; parts < 17; parts += 1) steps.next();
  const page = sortedPage(write.commit(POSITION));
  expect(sortedPage(refold(CATALOG, store.ledger).publish())).toEqual(page);
});

test("a write that is given up leaves nothing of it, and the next one is as ever", () => {
  using store = open();
  {
    using write = store.begin({ bulk: true });
    write.setAside();
    add(store, write, FACTS);
    const steps = write.place();
    steps.next();
  }
  store.load();
  expect(store.empty).toBe(true);
  expect(left()).toEqual([]);
  {
    using write = store.begin();
    add(store, write, FACTS);
    write.commit(POSITION);
  }
  expect(rows()).toHaveLength(FACTS.length);
});
