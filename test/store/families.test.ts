// Families in the store: which are on, what each was folded with, and who has a series; all of it survives restarts and changes.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { Fact } from "../../src/derive/fact.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../src/metrics/families/agents.ts";
import type { Family } from "../../src/metrics/family.ts";
import { type Loaded, Store } from "../../src/store/store.ts";
import { CATALOG, page, series } from "../support/folding.ts";
import {
  AGENT_NAMES,
  NAMES,
  attempted,
  connected,
  ended,
  pendingAgent,
  pendingBuild,
  uuid,
} from "../support/rows.ts";
import { type Batch, POSITION, staged, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-families-"));
let path = "";
let count = 0;
const newPath = (): string => join(root, `${(count += 1)}.db`);
beforeEach(() => {
  path = newPath();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const AGENTS = "agents_first_connection_seconds";
const ATTEMPTS = "workspace_creation_attempts_total";
const FAILURES = "workspace_creation_failures_total";
const OTHER = '{organization_name="__other__",template_name="__other__",preset_name="__other__"}';

const catalogOf = (families: readonly string[], agentLabels = [...AGENT_LABELS]) =>
  createCatalog({ agentLabels, families });
const NAMED = CATALOG.map(({ name }) => name);
const without = (...names: string[]): readonly Family[] =>
  catalogOf(NAMED.filter((name) => !names.includes(name)));

const raised = (of: string, version: number): readonly Family[] =>
  CATALOG.map((family) => (family.name === of ? { ...family, version } : family));

interface Options {
  readonly catalog?: readonly Family[];
  readonly seriesLimit?: number;
}

/** Opens the store, does what is asked, and closes it. */
function opened<T>(options: Options, use: (store: Store, loaded: Loaded) => T): T {
  using store = Store.open({ path, catalog: CATALOG, ...options });
  return use(store, store.load());
}

/** The page after a start with these options. */
const shown = (options: Options = {}, prefix = ""): readonly string[] =>
  opened(options, (_, { totals }) => page(totals, prefix).split("\n").sort());
const lines = (name: string, options: Options = {}): readonly string[] =>
  opened(options, (_, { totals }) => series(totals, name));
const told = (batch: Batch, options: Options = {}): void =>
  void opened(options, (store) => write(store, batch));

interface StoredRow {
  readonly id: number;
  readonly family: string;
  readonly labels: string;
}

function rows(): readonly StoredRow[] {
  using db = new DatabaseSync(path, { readOnly: true });
  return db
    .prepare("select id, family, labels, hex(value) as value from series order by id")
    .all() as unknown as StoredRow[];
}

const attempt = (n: number, preset = n): Fact =>
  attempted({ id: uuid(n), names: { ...NAMES, preset: `p${preset}` } });
const agentOf = (n: number): Fact =>
  connected({ id: uuid(n), names: { ...AGENT_NAMES, workspace: `workspace-${n}` } });
const FAILURE = ended({ status: "failure", stage: "queue", errorCode: "QUOTA" });
const SOME: Batch = {
  facts: [attempted(), FAILURE, connected()],
  put: [pendingBuild({ id: uuid(20) }), pendingAgent({ id: uuid(40) })],
};

describe("a family that is switched off", () => {
  test("is not shown, leaves the file, and is back with what happened meanwhile", () => {
    told(SOME);
    const catalog = without(ATTEMPTS, FAILURES, "workspace_creations_in_flight");
    told({ facts: [attempt(2)], put: [pendingBuild({ id: uuid(21) })] }, { catalog });
    expect(rows().map(({ family }) => family)).not.toContain(ATTEMPTS);
    const off = shown({ catalog }).join("\n");
    expect(off).not.toContain(ATTEMPTS);
    expect(off).toContain("workspace_creation_outcomes_total");

    const on = shown();
    path = newPath();
    told(SOME);
    told({ facts: [attempt(2)], put: [pendingBuild({ id: uuid(21) })] });
    expect(on).toEqual(shown());
    expect(on.filter((line) => line.includes("QUOTA"))).toHaveLength(4);
  });

  test("keeps no births from the others, also not after a restart", () => {
    const options = { catalog: catalogOf(["workspace_creation_outcomes_total", FAILURES]) };
    const alone = { catalog: catalogOf([FAILURES]) };
    told(SOME, { catalog: catalogOf(["workspace_creation_outcomes_total"]) });
    told({ facts: [attempt(2)] }, alone);
    expect(lines(FAILURES, options).filter((line) => line.includes("QUOTA"))).toHaveLength(4);
  });
});

describe("a family that changed", () => {
  test("is folded again; the rows of the others are the same rows", () => {
    told(SOME);
    const before = rows();
    const catalog = catalogOf(NAMED, ["template_name"]);
    expect(lines(`${AGENTS}_count`, { catalog })).toEqual(['{template_name="docker"} 1']);
    const others = (all: readonly StoredRow[]) => all.filter(({ family }) => family !== AGENTS);
    expect(others(rows())).toEqual(others(before));
    expect(rows().filter(({ family }) => family === AGENTS)).toHaveLength(1);
  });

  test("is known by its version where nothing else of it is another", () => {
    told(SOME);
    using db = new DatabaseSync(path);
    const spoil = (): void =>
      db.exec(`update series set value = zeroblob(8) where family = '${ATTEMPTS}'`);
    spoil();
    expect(lines(ATTEMPTS)).toEqual(['{preset_name="large"} 0']);
    expect(lines(ATTEMPTS, { catalog: raised(ATTEMPTS, 1) })).toEqual(['{preset_name="large"} 1']);
    spoil();
    expect(lines(ATTEMPTS, { catalog: raised(ATTEMPTS, 1) })).toEqual(['{preset_name="large"} 0']);
    expect(lines(ATTEMPTS, { catalog: raised(ATTEMPTS, 2) })).toEqual(['{preset_name="large"} 1']);
  });

  test("nothing is written where nothing changed", () => {
    told(SOME);
    const before = rows();
    using db = new DatabaseSync(path);
    const version = (): unknown => db.prepare("pragma data_version").get()?.["data_version"];
    const was = version();
    shown();
    expect(version()).toBe(was);
    expect(rows()).toEqual(before);
  });

  test("a change that is cut off in the middle of its slices leaves all as it was", () => {
    told({ facts: Array.from({ length: 2_500 }, (_, n) => agentOf(n)) });
    const before = rows();
    {
      using store = Store.open({ path, catalog: without(ATTEMPTS, AGENTS) });
      store.load();
    }
    const middle = rows();
    expect(middle.length).toBeLessThan(before.length);
    using store = Store.open({ path, catalog: CATALOG });
    // Two pauses while it folds, two while it writes.
    for (const slices of [1, 3, 4]) {
      using steps = store.loading();
      for (let taken = 0; taken < slices; taken += 1) expect(steps.next().done).toBe(false);
    }
    expect(rows()).toEqual(middle);
    store.load();
    expect(rows().length).toBe(before.length);
  });

  test("a store of before families had definitions of their own keeps its series, and learns what can be built", () => {
    told(SOME);
    const before = rows();
    {
      using db = new DatabaseSync(path);
      const known = "family like 'known %' or family like '%in_flight%'";
      const catalog = CATALOG.map((family) => ({
        name: family.name,
        type: family.type,
        labels: family.labels,
        buckets: family.type === "gauge" ? [] : family.buckets,
      }));
      db.exec(`delete from series where ${known}`);
      db.prepare("update meta set value = ? where key = 'catalog'").run(JSON.stringify(catalog));
    }
    const after = shown();
    const kept = rows().filter(({ id }) => before.some((row) => row.id === id));
    expect(kept.map(({ family }) => family)).toContain(ATTEMPTS);
    expect(
      rows()
        .map(({ family, labels }) => `${family} ${labels}`)
        .sort(),
    ).toEqual(before.map(({ family, labels }) => `${family} ${labels}`).sort());
    expect(after).toContain(
      `${ATTEMPTS}{organization_name="acme",template_name="docker",preset_name="large"} 1`,
    );
  });
});

test("what waited once and does no longer has no oldest, also after a restart", () => {
  told({ put: [pendingBuild()] });
  told({ drop: [pendingBuild()] });
  expect(lines("workspace_creation_oldest_in_flight_timestamp_seconds")).toEqual([]);
  expect(lines("workspace_creations_in_flight")).toEqual(['{preset_name="large"} 0']);
});

test("only what is new or changed is folded", () => {
  told(SOME);
  const asked = new Map<string, number>();
  const watched = raised(ATTEMPTS, 1).map((family) => {
    if (family.type === "gauge") return family;
    const { name, feeds } = family;
    return {
      ...family,
      feeds: (fact: Fact) => {
        asked.set(name, (asked.get(name) ?? 0) + 1);
        return feeds(fact);
      },
    };
  });
  shown({ catalog: watched });
  expect([...asked]).toEqual([[ATTEMPTS, SOME.facts?.length]]);
});

describe("the limit", () => {
  test("is kept by restarts: the store decides who has a series", () => {
    const limit = { seriesLimit: 2 };
    for (const n of [1, 2, 3]) told({ facts: [attempt(n)] }, limit);
    told({ facts: [attempt(13, 3), attempt(12, 2)] }, limit);
    const expected = ['{preset_name="p1"} 1', '{preset_name="p2"} 2', `${OTHER} 2`];
    expect(lines(ATTEMPTS, limit).toSorted()).toEqual(expected.toSorted());
  });

  test("what a higher one makes room for is stored at once, so that a lower one finds it", () => {
    for (const n of [1, 2]) told({ facts: [attempt(n)] }, { seriesLimit: 1 });
    const three = ['{preset_name="p1"} 1', '{preset_name="p2"} 0', `${OTHER} 1`].toSorted();
    expect(lines(ATTEMPTS, { seriesLimit: 9 }).toSorted()).toEqual(three);
    expect(lines(ATTEMPTS, { seriesLimit: 1 }).toSorted()).toEqual(three);
  });

  test("gauges come back where they were", () => {
    const limit = { seriesLimit: 1 };
    const builds = [1, 2, 3].map((n) =>
      pendingBuild({ id: uuid(90 - n), names: { ...NAMES, preset: `p${n}` } }),
    );
    for (const build of builds) told({ put: [build] }, limit);
    told({ drop: builds.slice(0, 1) }, limit);
    const inFlight = "workspace_creations_in_flight";
    expect(lines(inFlight, limit)).toEqual(['{preset_name="p1"} 0', `${OTHER} 2`]);
    told({ drop: builds.slice(1) }, limit);
    expect(lines(inFlight, limit)).toEqual(['{preset_name="p1"} 0', `${OTHER} 0`]);
  });

  test("holds for a ledger that is completed", () => {
    opened({ seriesLimit: 2 }, (store) => {
      using transaction = store.begin();
      const facts = [1, 2, 3].map((n) => attempt(n));
      transaction.add(staged(store, { facts }));
      transaction.complete(staged(store, { facts }));
      expect(series(transaction.commit(POSITION), ATTEMPTS)).toContain(`${OTHER} 1`);
    });
  });

  test("holds for a family that is folded again", () => {
    told({ facts: [1, 2, 3].map((n) => attempt(n)) });
    told({}, { catalog: without(ATTEMPTS) });
    const again = lines(ATTEMPTS, { seriesLimit: 2 });
    expect(again).toContain(`${OTHER} 1`);
    expect(again).toHaveLength(3);
  });
});
