// Searching the ledger: what matches, in which order, of which moment, and in steps.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { Fact } from "../../src/derive/fact.ts";
import { NeedsOperator } from "../../src/errors.ts";
import { type FactPage, type FactQuery, searchFacts } from "../../src/store/query.ts";
import { Store } from "../../src/store/store.ts";
import { CATALOG, OFFERED } from "../support/folding.ts";
import { AGENT_NAMES, TRAITS, after, attempted, connected, ended, uuid } from "../support/rows.ts";
import { POSITION, staged, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-query-"));
let path = "";
let count = 0;
beforeEach(() => {
  path = join(root, `${(count += 1)}.db`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function open(facts: readonly Fact[] = []): Store {
  const store = Store.open({ path, catalog: CATALOG });
  store.load();
  if (facts.length > 0) write(store, { facts });
  return store;
}

const ANY: FactQuery = {
  kinds: ["attempted", "ended", "connected", "offered"],
  statuses: null,
  stages: null,
  errorCodes: null,
  builds: null,
  since: null,
  until: null,
  before: null,
  limit: 100,
};

function search(query: Partial<FactQuery> = {}): FactPage {
  const steps = searchFacts(path, { ...ANY, ...query });
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Which facts, by their numbers. */
const found = (query: Partial<FactQuery> = {}): number[] =>
  search(query).facts.map(({ fact }) => Number.parseInt(fact.id.slice(-12), 16));

const divergent = (): string[] =>
  search().facts.flatMap((one) => (one.divergent ? [one.fact.kind] : []));

/** All of the ledger by pages of this size. */
function paged(limit: number): number[][] {
  const pages: number[][] = [];
  for (let before: FactQuery["before"] = null; ;) {
    const { facts, more } = search({ limit, before });
    pages.push(facts.map(({ fact }) => Number.parseInt(fact.id.slice(-12), 16)));
    before = facts.at(-1)?.fact ?? null;
    if (!more) return pages;
  }
}

const PREBUILD = { ...TRAITS, prebuild: true };
const CLAIM = { ...TRAITS, initial: false, claimed: "" };
const STOP = { ...TRAITS, initial: false, transition: "stop" };
const FAILURE = { status: "failure", stage: "provisioner", errorCode: "other" } as const;
const QUEUE = { status: "failure", stage: "queue", errorCode: "user_canceled" } as const;

/** Their numbers are in the order of time. */
const FACTS: readonly Fact[] = [
  { ...OFFERED, id: uuid(1), at: after(1) },
  attempted({ id: uuid(2), at: after(2) }),
  attempted({ id: uuid(3), at: after(3), traits: PREBUILD }),
  attempted({ id: uuid(4), at: after(4), traits: CLAIM }),
  attempted({ id: uuid(5), at: after(5), traits: STOP }),
  ended({ id: uuid(6), at: after(6), took: 4_000_000 }),
  ended({ id: uuid(7), at: after(7), traits: PREBUILD, ...FAILURE }),
  ended({ id: uuid(8), at: after(8), ...QUEUE }),
  ended({ id: uuid(9), at: after(9), traits: STOP, status: "canceled" }),
  ended({ id: uuid(10), at: after(10), ...FAILURE }),
  connected({ id: uuid(11), at: after(11), took: -3_000_000 }),
];

describe("what is found", () => {
  test("is every fact as the store has it, newest first", () => {
    using store = open(FACTS);
    const { facts, more, upTo } = search();
    expect(facts.map(({ fact }) => fact)).toEqual(FACTS.toReversed());
    expect(new Set(facts.map(({ fact }) => fact))).toEqual(new Set(store.ledger.facts()));
    expect({ more, upTo }).toEqual({ more: false, upTo: POSITION.end });
  });

  test.each<[string, Partial<FactQuery>, number[]]>([
    ["a kind", { kinds: ["connected"] }, [11]],
    ["two kinds", { kinds: ["offered", "connected"] }, [11, 1]],
    ["a status", { statuses: ["failure"] }, [10, 8, 7]],
    ["two statuses", { statuses: ["success", "canceled"] }, [9, 6]],
    ["a stage", { stages: ["queue"] }, [8]],
    ["an error code", { errorCodes: ["other"] }, [10, 7]],
    ["an error code that nobody saw", { errorCodes: ["x') or 1 = 1 --"] }, []],
    ["status and stage", { statuses: ["failure"], stages: ["provisioner"] }, [10, 7]],
    ["what contradicts itself", { statuses: ["success"], stages: ["provisioner"] }, []],
    ["first builds", { builds: ["first"] }, [10, 8, 6, 2]],
    ["prebuilds and claims", { builds: ["prebuild", "claim"] }, [7, 4, 3]],
    ["other builds", { builds: ["other"] }, [9, 5]],
    ["failed first builds", { builds: ["first"], statuses: ["failure"] }, [10, 8]],
    [
      "what has no status of kinds that have none",
      { kinds: ["attempted"], statuses: ["failure"] },
      [],
    ],
    ["from a time on", { since: after(10) }, [11, 10]],
    ["before a time", { until: after(3) }, [2, 1]],
    ["between two times", { since: after(3), until: after(5) }, [4, 3]],
  ])("%s", (_what, query, numbers) => {
    using _store = open(FACTS);
    expect(found(query)).toEqual(numbers);
  });

  test("times at both ends of the calendar are times like others", () => {
    const edge = Number.MAX_SAFE_INTEGER;
    using _store = open([
      attempted({ id: uuid(1), at: -edge }),
      attempted({ id: uuid(2), at: edge }),
    ]);
    expect(found()).toEqual([2, 1]);
    expect(found({ since: 0 })).toEqual([2]);
    expect(found({ until: 0 })).toEqual([1]);
  });

  test("says what a build is, and of what is none, nothing", () => {
    using _store = open(FACTS);
    const builds = search().facts.map(({ build }) => build);
    const ends = ["first", "other", "first", "prebuild", "first"];
    expect(builds).toEqual([null, ...ends, "other", "claim", "prebuild", "first", null]);
  });

  test("is a first build where an older version recorded no traits", () => {
    {
      using _store = open([attempted({ id: uuid(2), traits: STOP })]);
    }
    const db = new DatabaseSync(path);
    db.exec("update fact set traits = null");
    db.close();
    using _store = open();
    expect([found({ builds: ["first"] }), found({ builds: ["other"] })]).toEqual([[2], []]);
  });

  test("says which ids are divergent now, each kind for itself", () => {
    using store = open([attempted({ id: uuid(1) }), ended({ id: uuid(1) }), connected()]);
    const { id, at, took } = connected();
    write(store, { sightings: [{ kind: "ended", id: uuid(1), gone: true }] });
    write(store, { sightings: [{ kind: "connected", id, at, took: took + 1 }] });
    expect(divergent()).toEqual(["connected", "ended"]);
    // Settled: it stays in the table.
    write(store, { sightings: [{ kind: "connected", id, at, took }] });
    expect(divergent()).toEqual(["ended"]);
  });
});

describe("pages", () => {
  test("hold each fact once, also of one time, and the last one says so", () => {
    using _store = open(FACTS.map((fact, index) => ({ ...fact, at: after(index % 2) })));
    const pages = paged(3);
    expect(pages.map((page) => page.length)).toEqual([3, 3, 3, 2]);
    expect(pages.flat()).toEqual(found());
    expect(pages.flat().toSorted((a, b) => a - b)).toEqual(FACTS.map((_, index) => index + 1));
    expect(paged(11)).toHaveLength(1);
  });

  test("of one id in several kinds, too", () => {
    using _store = open([attempted(), ended({ id: uuid(1), at: attempted().at })]);
    expect(paged(1)).toEqual([[1], [1]]);
  });
});

describe("a ledger of many slices", () => {
  const MANY = 9_000;
  /** Spread: neither of ids nor of times are the newest side by side. */
  const number = (n: number): number => (n * 7_919) % MANY;
  const many = (): Fact[] =>
    Array.from({ length: MANY }, (_, n) =>
      n % 3 === 0
        ? ended({ id: uuid(n), at: after(number(n)), ...(n % 600 === 0 ? FAILURE : {}) })
        : attempted({ id: uuid(n), at: after(number(n)) }),
    );

  test("is searched to its end, with the newest kept", () => {
    const facts = many();
    using _store = open(facts);
    const newest = facts.toSorted((a, b) => b.at - a.at).map(({ id }) => id);
    for (const limit of [1, 10, 1_000])
      expect(search({ limit }).facts.map(({ fact }) => fact.id)).toEqual(newest.slice(0, limit));
    expect(search({ statuses: ["failure"] }).facts).toHaveLength(15);
  });
});

describe("only what is committed is seen", () => {
  test("not what a transaction has added so far", () => {
    using store = open([attempted()]);
    {
      using transaction = store.begin();
      transaction.add(staged(store, { facts: [ended()] }));
      expect([...store.ledger.facts()], "the store's own connection sees it").toHaveLength(2);
      expect(found()).toEqual([1]);
    }
    expect(found()).toEqual([1]);
    store.load();
    write(store, { facts: [ended()] });
    expect(found()).toEqual([3, 1]);
  });

  test("and of one moment: not what is committed while it is searched", () => {
    using store = open([attempted()]);
    const steps = searchFacts(path, ANY);
    steps.next();
    const position = { ...POSITION, timeline: 2 };
    write(store, { facts: [ended(), connected()], position });
    let step = steps.next();
    while (!step.done) step = steps.next();
    expect(step.value.facts.map(({ fact }) => fact.kind)).toEqual(["attempted"]);
    expect(found()).toHaveLength(3);
  });

  test("a search that is given up holds nothing back", () => {
    using store = open([attempted()]);
    const steps = searchFacts(path, ANY);
    steps.next();
    steps[Symbol.dispose]();
    write(store, { facts: [ended()] });
    // The write-ahead file can be emptied only when nobody reads an older state from it.
    const db = new DatabaseSync(path);
    const { busy } = db.prepare("pragma wal_checkpoint(truncate)").get() ?? {};
    db.close();
    expect(busy).toBe(0);
  });
});

describe("a store", () => {
  test("in which nothing is counted yet answers with nothing", () => {
    using _store = open();
    expect(search()).toEqual({ upTo: null, facts: [], more: false });
  });

  test.each([
    ["is not there", () => {}, "store_empty"],
    ["is damaged", () => writeFileSync(path, "x".repeat(5_000)), "store_damaged"],
  ])("that %s is named with what to do", (_what, make, reason) => {
    make();
    expect(() => search()).toThrow(NeedsOperator);
    expect(() => search()).toThrow(expect.objectContaining({ reason, hint: expect.any(String) }));
  });
});

test("names are those of the fact", () => {
  using _store = open([connected()]);
  expect(search().facts[0]?.fact).toMatchObject({ names: AGENT_NAMES });
});
