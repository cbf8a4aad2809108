// The comparison of two sets of facts by id, and which store files it reads.

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { NeedsOperator } from "../../src/errors.ts";
import { type Lsn, toLsn } from "../../src/lsn.ts";
import type { Fact, Sighting } from "../../src/derive/fact.ts";
import type { Entity } from "../../src/derive/state.ts";
import { Comparison, type Difference, type OverdueTimes } from "../../src/store/compare.ts";
import { Store } from "../../src/store/store.ts";
import { CATALOG } from "../support/folding.ts";
import {
  after,
  attempted,
  connected,
  deleted,
  ended,
  overdue,
  pendingAgent,
  uuid,
} from "../support/rows.ts";
import { POSITION, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-compare-"));
let folder = "";
let path = "";
let count = 0;
beforeEach(() => {
  folder = join(root, `test-${(count += 1)}`);
  mkdirSync(folder);
  path = join(folder, "a #?%20 store.db");
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const C = POSITION.end;
const before = toLsn(C - 8n);
const later = toLsn(C + 8n);
const END = toLsn(C + 16n);

/** Whose time was up by then is told by both sides. */
const upTo = (seconds: number): OverdueTimes => ({ decided: after(seconds), told: after(seconds) });
const TIMES = upTo(3_600);

/** The ledger has these facts and stands at `end`. */
function ledger(
  facts: readonly Fact[],
  sightings: readonly Sighting[] = [],
  end: Lsn = END,
  put: readonly Entity[] = [],
): void {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  write(store, { facts, put });
  for (const sighting of sightings)
    write(store, { sightings: [sighting], position: { ...POSITION, end } });
  write(store, { position: { ...POSITION, end } });
}

/** What differs when the tables tell these facts at C. */
function compare(tables: readonly Fact[], times: OverdueTimes = TIMES): Difference[] {
  using comparison = new Comparison(path);
  comparison.tell(tables);
  return [...comparison.differences(C, times)].flat();
}

const brief = (found: readonly Difference[]): string[] =>
  found.map(({ kind, id, ledger: has, tables, explained }) =>
    [kind, id, has && "ledger", tables && "tables", explained && "explained"]
      .filter(Boolean)
      .join(" "),
  );

describe("ids on which both sides", () => {
  test("agree are no difference, whatever their names and positions", () => {
    ledger([attempted(), ended(), connected()]);
    const names = { organization: "x", template: "renamed", preset: "", version: "v1" };
    expect(compare([attempted({ names, end: later }), ended({ end: later }), connected()])).toEqual(
      [],
    );
  });

  test("do not agree are told with what each says", () => {
    ledger([attempted(), ended(), connected()]);
    const failed = { status: "failure", stage: "queue", errorCode: "other" } as const;
    const found = compare([
      attempted({ at: after(1) }),
      ended(failed),
      connected({ took: 1, at: after(1) }),
    ]);
    expect(found).toMatchObject([
      { kind: "attempted", ledger: { at: after(0) }, tables: { at: after(1) } },
      { kind: "ended", ledger: { ending: { status: "success" } }, tables: { ending: failed } },
      { kind: "connected", ledger: { took: 41_200_000 }, tables: { took: 1, at: after(1) } },
    ]);
    for (const { explained } of found) expect(explained).toBe(false);
  });

  test("of which one says nothing are told as such; the same id of another kind is another id", () => {
    ledger([attempted({ id: uuid(1) }), ended({ id: uuid(2) })]);
    expect(brief(compare([attempted({ id: uuid(2) }), ended({ id: uuid(2) })]))).toEqual([
      `attempted ${uuid(2)} tables`,
      `attempted ${uuid(1)} ledger`,
    ]);
  });

  test("a workspace that was deleted twice may be deleted by either, and one that was not is told", () => {
    ledger([deleted({ number: 3, at: after(90) }), deleted({ id: uuid(20), number: 2 })]);
    const twice = [deleted({ number: 3, at: after(90) }), deleted({ number: 2, at: after(80) })];
    for (const tables of [twice, twice.toReversed()])
      expect(brief(compare([...tables, deleted({ id: uuid(21) })]))).toEqual([
        `deleted ${uuid(21)} tables`,
        `deleted ${uuid(20)} ledger`,
      ]);
    expect(compare([deleted({ number: 3, at: after(91) })])).toMatchObject([
      { ledger: { number: 3, at: after(90) }, tables: { number: 3, at: after(91) } },
      { ledger: { number: 2 }, tables: null },
    ]);
  });

  test("what can be built is not compared", () => {
    ledger([{ ...attempted(), kind: "offered" }]);
    expect(compare([{ ...attempted({ id: uuid(9) }), kind: "offered" }])).toEqual([]);
  });
});

describe("what the ledger learned after C", () => {
  test("is of no concern at C", () => {
    ledger([
      attempted({ id: uuid(1), end: later }),
      ended({ end: later }),
      attempted({ id: uuid(4), end: C }),
      attempted({ id: uuid(5), end: before }),
    ]);
    expect(brief(compare([ended({ at: after(99) })]))).toEqual([
      `attempted ${uuid(4)} ledger`,
      `attempted ${uuid(5)} ledger`,
    ]);
  });

  test("but not where it lies beyond the ledger's own end: that is of an older history", () => {
    ledger([attempted({ end: toLsn(END + 1n) })]);
    expect(brief(compare([]))).toEqual([`attempted ${uuid(1)} ledger`]);
  });
});

describe("what the stream saw change", () => {
  const revised = { kind: "connected", id: uuid(5), at: after(43), took: 43_000_000 } as const;
  const back = { kind: "connected", id: uuid(5), at: after(41.2), took: 41_200_000 } as const;
  const gone = { kind: "attempted", id: uuid(1), gone: true } as const;

  test("is explained", () => {
    ledger([connected(), attempted()], [revised, gone]);
    expect(brief(compare([connected(revised)]))).toEqual([
      `connected ${uuid(5)} ledger tables explained`,
      `attempted ${uuid(1)} ledger explained`,
    ]);
  });

  test("a row that changed and changed back after C, as two overlapping connections do, is explained", () => {
    ledger([connected()], [revised, back]);
    expect(brief(compare([connected(revised)]))).toEqual([
      `connected ${uuid(5)} ledger tables explained`,
    ]);
  });

  test("is no difference where both agree at C", () => {
    ledger([connected()], [revised]);
    expect(compare([connected()])).toEqual([]);
  });
});

describe("agents whose time is up", () => {
  const waits = pendingAgent({ timeout: 120_000_000, due: after(500) });
  test("agree, differ and are missing like other facts", () => {
    ledger([overdue(), overdue({ id: uuid(6) })]);
    expect(compare([overdue(), overdue({ id: uuid(6) })])).toEqual([]);
    expect(brief(compare([overdue({ at: after(121) }), overdue({ id: uuid(7) })]))).toEqual([
      `overdue ${uuid(5)} ledger tables`,
      `overdue ${uuid(7)} tables`,
      `overdue ${uuid(6)} ledger`,
    ]);
  });

  test("are not extra where it was not up, or not by much, when the tables were read", () => {
    ledger([overdue()]);
    expect(compare([], upTo(120))).toHaveLength(1);
    expect(compare([], upTo(120 - 1e-6))).toEqual([]);
    expect(compare([], upTo(Number.NEGATIVE_INFINITY))).toEqual([]);
  });

  test("are not missing where the ledger waits to tell of them, unless it should have done so long ago", () => {
    ledger([attempted()], [], END, [waits]);
    const tables = [attempted(), overdue()];
    expect(compare(tables, upTo(500 - 1e-6))).toEqual([]);
    expect(brief(compare(tables, upTo(500)))).toEqual([`overdue ${uuid(5)} tables`]);
    // It has learned since C that this one connected.
    ledger([attempted(), connected({ id: uuid(7), end: later })]);
    expect(compare([...tables, overdue({ id: uuid(7) })], upTo(0))).toEqual([]);
    // Another agent, of which it does not know.
    expect(brief(compare([attempted(), overdue({ id: uuid(6) })], upTo(0)))).toEqual([
      `overdue ${uuid(6)} tables`,
    ]);
  });

  test("are explained where another first connection was seen than was counted", () => {
    const revised = { kind: "connected", id: uuid(5), at: after(121), took: 121_000_000 } as const;
    const counted = connected({ at: after(119), took: 119_000_000 });
    ledger([counted], [revised]);
    expect(brief(compare([connected(revised), overdue()]))).toEqual([
      `connected ${uuid(5)} ledger tables explained`,
      `overdue ${uuid(5)} tables explained`,
    ]);
    ledger([overdue({ id: uuid(6) })], [{ kind: "overdue", id: uuid(6), at: null }]);
    expect(brief(compare([connected(revised), overdue()]))).toContain(
      `overdue ${uuid(6)} ledger explained`,
    );
  });
});

const sides = (n: number): string[] => [
  ...(n % 3 === 0 && n % 5 !== 0 ? [`attempted ${uuid(n)} tables`] : []),
  ...(n % 3 !== 0 && n % 5 === 0 ? [`attempted ${uuid(n)} ledger`] : []),
];

test("many ids: all of them, each once, a slice at a time", () => {
  const ids = Array.from({ length: 7_000 }, (_, n) => n);
  const inLedger = ids.filter((n) => n % 3 !== 0);
  const inTables = ids.filter((n) => n % 5 !== 0);
  ledger(inLedger.map((n) => attempted({ id: uuid(n) })));
  using comparison = new Comparison(path);
  for (let i = 0; i < inTables.length; i += 900)
    comparison.tell(inTables.slice(i, i + 900).map((n) => attempted({ id: uuid(n) })));
  comparison.tell([attempted({ id: uuid(inTables[0] ?? 0) })]);
  expect(comparison.told).toEqual({
    attempted: inTables.length,
    ended: 0,
    connected: 0,
    created: 0,
    deleted: 0,
    started: 0,
    ran: 0,
    ready: 0,
    overdue: 0,
  });
  const slices = [...comparison.differences(C, TIMES)];
  expect(slices.length).toBeGreaterThan(10);
  expect(Math.max(...slices.map(({ length }) => length))).toBeLessThanOrEqual(500);
  expect(brief(slices.flat()).sort()).toEqual(ids.flatMap(sides).sort());
});

test("a writer goes on while it compares, and what it compares stays as it was", () => {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  write(store, { facts: [attempted()], position: { ...POSITION, end: C } });
  using comparison = new Comparison(path);
  expect(comparison.followed).toBe(true);
  expect(comparison.standing()).toEqual({ systemId: POSITION.systemId, end: C });
  comparison.tell([attempted()]);
  const found = comparison.differences(C, TIMES);
  expect(found.next()).toEqual({ done: false, value: [] });
  write(store, { facts: [ended()], position: { ...POSITION, end: END } });
  expect([...found].flat()).toEqual([]);
  expect(comparison.standing().end).toBe(END);
  expect(brief([...comparison.differences(C, TIMES)].flat())).toEqual([`ended ${uuid(3)} ledger`]);
});

function refusal(): NeedsOperator {
  try {
    using comparison = new Comparison(path);
    comparison.standing();
  } catch (error) {
    if (error instanceof NeedsOperator) return error;
    throw error;
  }
  throw new Error("it was opened");
}

/** Refused with this reason; the folder is left as it is. */
function expectRefused(reason: string): NeedsOperator {
  const files = readdirSync(folder);
  const error = refusal();
  expect(error).toMatchObject({ reason });
  expect(error.hint).toMatch(/./);
  expect(readdirSync(folder)).toEqual(files);
  return error;
}

describe("a store that can not be compared", () => {
  test("is not there", () => void expectRefused("store_empty"));

  test("is an empty file", () => {
    writeFileSync(path, "");
    expectRefused("store_empty");
  });

  test("has no position yet", () => {
    Store.open({ path, catalog: CATALOG })[Symbol.dispose]();
    expect(expectRefused("store_empty").message).toContain("no baseline has been completed");
  });

  test.each([
    ["newer", 99, "store_newer"],
    ["older", 1, "store_older"],
  ])("is of a %s version", (_, version, reason) => {
    ledger([attempted()]);
    const db = new DatabaseSync(path);
    db.exec(`pragma user_version = ${version}`);
    db.close();
    expectRefused(reason);
  });

  test("is somebody else's database", () => {
    const db = new DatabaseSync(path);
    db.exec("create table notes (text)");
    db.close();
    expectRefused("store_foreign");
  });

  test("is no database", () => {
    writeFileSync(path, "all my notes\n".repeat(1_000));
    expectRefused("store_damaged");
  });

  test("is a folder", () => {
    mkdirSync(path);
    expectRefused("store_not_readable");
  });
});

test("a store at rest is read without a file beside it; nobody follows", () => {
  ledger([attempted()]);
  const files = readdirSync(folder);
  using comparison = new Comparison(path);
  expect(comparison.standing().end).toBe(END);
  expect(comparison.followed).toBe(false);
  expect(readdirSync(folder)).toEqual(files);
});

test("a store as a crash leaves it is read with all that was committed", () => {
  {
    using store = Store.open({ path, catalog: CATALOG });
    store.load();
    write(store, { facts: [attempted()], position: { ...POSITION, end: END } });
    // A copy of the files while they are open: what was committed is still beside the file itself.
    const crashed = join(folder, "crashed.db");
    cpSync(path, crashed);
    cpSync(`${path}-wal`, `${crashed}-wal`);
    cpSync(`${path}.lock`, `${crashed}.lock`);
    path = crashed;
  }
  using comparison = new Comparison(path);
  expect(comparison.followed).toBe(false);
  expect(comparison.standing().end).toBe(END);
});
