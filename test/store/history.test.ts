// The ledger as history reads it: all facts, and those of a stretch of time in order, of one moment, and named when it can not be.

import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeEach, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Fact } from "../../src/derive/fact.ts";
import { NeedsOperator } from "../../src/errors.ts";
import { type FactHistory, openHistory } from "../../src/store/history.ts";
import { Store } from "../../src/store/store.ts";
import { lifeOf, writeLedger } from "../history/support/deployment.ts";
import { CATALOG, OFFERED } from "../support/folding.ts";
import { LIGHT, START, after, attempted, connected, uuid } from "../support/rows.ts";
import { POSITION, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-history-"));
let path = "";
let count = 0;
beforeEach(() => {
  path = join(root, `${(count += 1)}.db`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const DAY = 86_400 * SECOND;
const LIFE = {
  organizations: 2,
  templates: 5,
  builds: 400,
  agents: 200,
  from: START,
  until: START + 9 * DAY,
};

const reason = (action: () => unknown): string => {
  try {
    action();
    return "nothing";
  } catch (error) {
    if (error instanceof NeedsOperator) return error.reason;
    throw error;
  }
};

const kinds = (of: FactHistory): string[] => [...of.facts()].map(({ kind }) => kind);

const byId = (facts: Iterable<Fact>): Fact[] =>
  [...facts].sort((a, b) => (`${a.kind} ${a.id}` < `${b.kind} ${b.id}` ? -1 : 1));

test("all facts come back as they were told, and those of a stretch of time in order", () => {
  const told = [...lifeOf(LIFE)];
  writeLedger(path, [...told, { ...OFFERED, at: START - 99 * DAY }]);
  using history = openHistory(path);
  expect(byId(history.facts())).toEqual(byId(told));
  expect(history).toMatchObject({
    systemId: POSITION.systemId,
    end: POSITION.end,
    count: told.length,
    oldest: Math.min(...told.map(({ at }) => at)),
  });
  const [from, to] = [START + DAY, told[700]?.at ?? 0];
  const stretch = [...history.between(from, to)];
  expect(byId(stretch)).toEqual(byId(told.filter(({ at }) => at > from && at <= to)));
  expect(stretch.map(({ at }) => at)).toEqual(stretch.map(({ at }) => at).sort((a, b) => a - b));
  expect(stretch.length).toBeGreaterThan(100);
  history.requireSteady();
});

test("an empty one has none, and no first", () => {
  writeLedger(path, []);
  using history = openHistory(path);
  expect(history).toMatchObject({ count: 0, oldest: null });
  expect([...history.facts()]).toEqual([]);
});

test("beside a writer it stays at the moment when it was opened", () => {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  write(store, { facts: [attempted()] });
  using history = openHistory(path);
  write(store, { facts: [connected({ light: LIGHT })] });
  expect(kinds(history)).toEqual(["attempted"]);
  expect(history.count).toBe(1);
  history.requireSteady();
  using again = openHistory(path);
  expect(kinds(again)).toEqual(["attempted", "connected"]);
});

test("a file at rest that somebody begins to write to meanwhile is not taken for one moment", () => {
  writeLedger(path, [attempted()]);
  using history = openHistory(path);
  expect([...history.facts()]).toHaveLength(1);
  writeLedger(path, [connected()]);
  expect(reason(() => history.requireSteady())).toBe("store_moved");
});

test("nothing is left beside a file at rest", () => {
  writeLedger(path, [attempted()]);
  const before = readdirSync(root);
  {
    using history = openHistory(path);
    expect([...history.between(0, after(1))]).toHaveLength(1);
  }
  expect(readdirSync(root)).toEqual(before);
});

test("a store that is not there, never had a baseline, or lacks what an older version did not record is refused", () => {
  expect(reason(() => openHistory(path))).toBe("store_empty");
  Store.open({ path, catalog: CATALOG })[Symbol.dispose]();
  expect(reason(() => openHistory(path))).toBe("store_empty");
  writeLedger(path, [attempted()]);
  {
    using db = asDisposable(path);
    db.exec("insert into meta (key, value) values ('lacks', 'workspaces')");
  }
  expect(reason(() => openHistory(path))).toBe("store_incomplete");
  {
    using db = asDisposable(path);
    db.exec("pragma user_version = 99");
  }
  expect(reason(() => openHistory(path))).toBe("store_newer");
});

test.each([
  ["a name that is gone", "delete from names"],
  ["a name that is no JSON", "update names set value = '{'"],
  ["a kind that was never written", "update fact set kind = 99"],
  ["an end without its ending", "update fact set kind = 2, ending = null"],
])("%s is damage, and named", (_what, sql) => {
  const good = join(root, "good.db");
  writeLedger(good, [attempted({ id: uuid(77) })]);
  copyFileSync(good, path);
  {
    using db = asDisposable(path);
    db.exec(`pragma foreign_keys = off; ${sql}`);
  }
  using history = openHistory(path);
  expect(reason(() => [...history.facts()])).toBe("store_damaged");
  expect(reason(() => [...history.between(0, after(1))])).toBe("store_damaged");
});

function asDisposable(file: string): DatabaseSync {
  return new DatabaseSync(file);
}
