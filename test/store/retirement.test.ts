// Series of deleted workspaces: gone after a while, there again with their totals if the name is, and the same after any restart.
// FIRSTLIGHT_TEST_RUNS: how many random histories.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Uuid } from "../../src/change/row.ts";
import type { Fact, Workspace } from "../../src/derive/fact.ts";
import type { Family } from "../../src/metrics/family.ts";
import { type Loaded, Store } from "../../src/store/store.ts";
import { CATALOG, page, series } from "../support/folding.ts";
import { sortedPage } from "../support/memory-state.ts";
import {
  AGENT_NAMES,
  NAMES,
  after,
  attempted,
  connected,
  deleted,
  ended,
  pendingAgent,
  uuid,
} from "../support/rows.ts";
import { Told } from "../support/retiring.ts";
import { type Batch, POSITION, staged, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-retirement-"));
let path = "";
let count = 0;
const newPath = (): string => join(root, `${(count += 1)}.db`);
beforeEach(() => {
  path = newPath();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const BUILDS = "workspace_builds_total";
const AGENTS = "agents_first_connection_seconds";

interface Options {
  /** What is deleted by then retires; null: nothing does. */
  readonly by?: number | null;
  readonly catalog?: readonly Family[];
  readonly seriesLimit?: number;
}

/** Opens the store, does what is asked, and closes it. */
function opened<T>(
  { by = null, catalog = CATALOG, seriesLimit }: Options,
  use: (store: Store, loaded: Loaded) => T,
): T {
  const retireUpTo = by === null ? null : () => by;
  using store = Store.open({
    path,
    catalog,
    retireUpTo,
    ...(seriesLimit === undefined ? {} : { seriesLimit }),
  });
  return use(store, store.load());
}

/** Tells a batch to the store at this time; the lines of a metric afterwards. */
const told = (batch: Batch, options: Options, name = BUILDS): readonly string[] =>
  opened(options, (store) => series(write(store, batch).totals, name));
const lines = (options: Options, name = BUILDS): readonly string[] =>
  opened(options, (_, { totals }) => series(totals, name));

const DEV: Workspace = { id: uuid(0x100), owner: "alice", name: "dev" };
const AGAIN: Workspace = { ...DEV, id: uuid(0x200) };
const OTHER: Workspace = { id: uuid(0x300), owner: "bob", name: "dev" };

let ids = 0x1000;
const newId = (): Uuid => uuid((ids += 1));

const built = (workspace: Workspace, version = "v7"): Fact[] => {
  const of = { workspace, names: { ...NAMES, version } };
  return [attempted({ id: newId(), ...of }), ended({ id: newId(), ...of, took: SECOND })];
};
const joined = (workspace: Workspace): Fact =>
  connected({
    id: newId(),
    workspace,
    names: { ...AGENT_NAMES, username: workspace.owner, workspace: workspace.name },
  });
const gone = (workspace: Workspace, seconds: number): Fact =>
  deleted({ id: workspace.id, workspace, at: after(seconds) });

const label = ({ owner, name }: Workspace, version = "v7", status = "success"): string =>
  `{workspace_owner="${owner}",workspace_name="${name}",template_name="docker",template_version="${version}",workspace_transition="START",status="${status}"}`;
const zero = (workspace: Workspace, version?: string): string =>
  `${label(workspace, version, "failed")} 0`;
const counted = (workspace: Workspace, n: number, version?: string): string =>
  `${label(workspace, version)} ${n}`;

const by = (seconds: number): Options => ({ by: after(seconds) });

describe("series of a deleted workspace", () => {
  test("are there until it has been deleted for so long, and not any more after that, also after restarts", () => {
    told({ facts: [...built(DEV), ...built(OTHER), joined(DEV), joined(OTHER)] }, by(0));
    expect(told({ facts: [gone(DEV, 100)] }, by(99))).toContain(counted(DEV, 1));
    const left = [counted(OTHER, 1), zero(OTHER)].sort();
    expect(lines(by(100)), "a start alone moves nothing").toContain(counted(DEV, 1));
    expect([...told({}, by(100))].sort()).toEqual(left);
    expect([...lines(by(100))].sort()).toEqual(left);
    expect(lines(by(100), `${AGENTS}_count`)).toHaveLength(1);
  });

  test("do not come back when the clock goes back, and those of others do not go", () => {
    told({ facts: [...built(DEV), ...built(OTHER), gone(DEV, 100)] }, by(5_000));
    expect([...told({ facts: [gone(OTHER, 200)] }, by(0))].sort()).toEqual(
      [counted(OTHER, 1), zero(OTHER)].sort(),
    );
  });

  test("go in the very commit that tells of a deletion of long ago", () => {
    told({ facts: [...built(OTHER), gone(OTHER, 200)] }, by(300));
    expect(told({ facts: [...built(DEV), gone(DEV, 100)] }, by(0))).toEqual([]);
  });

  test("go on where they were when the owner makes a workspace of that name again", () => {
    told({ facts: [...built(DEV), ...built(DEV, "v8"), joined(DEV)] }, by(0));
    expect(told({ facts: [gone(DEV, 100)] }, by(100))).toEqual([]);
    const back = told({ facts: built(AGAIN) }, by(100));
    expect([...back].sort()).toEqual(
      [counted(DEV, 2), zero(DEV), counted(DEV, 1, "v8"), zero(DEV, "v8")].sort(),
    );
    expect(told({ facts: [joined(AGAIN)] }, by(100), `${AGENTS}_count`)).toEqual([
      '{template_name="docker",agent_name="main",username="alice",workspace_name="dev"} 2',
    ]);
    expect(told({ facts: [gone(AGAIN, 200)] }, by(200))).toEqual([]);
  });

  test("stay while somebody has the name: also one who had it before a rename", () => {
    told({ facts: [...built(DEV), ...built({ ...OTHER, owner: "alice" })] }, by(0));
    told({ facts: built(OTHER) }, by(0));
    expect(told({ facts: [gone(DEV, 100)] }, by(100))).toContain(counted(DEV, 2));
    expect(told({ facts: [gone(OTHER, 150)] }, by(200))).toEqual([]);
  });

  test("count what is told late, and are not shown for that", () => {
    told({ facts: [...built(DEV), gone(DEV, 100)] }, by(100));
    expect(told({ facts: built(DEV), put: [pendingAgent({ workspace: DEV })] }, by(100))).toEqual(
      [],
    );
    expect(lines(by(100), AGENTS)).toEqual([]);
    expect(told({ facts: built(AGAIN) }, by(100))).toContain(counted(DEV, 3));
    expect(lines(by(100), `${AGENTS}_count`)).toHaveLength(1);
  });

  test("are back when the deletion is taken back, and go when it is told again", () => {
    told({ facts: [...built(DEV), gone(DEV, 100)] }, by(100));
    const lost = { kind: "deleted", id: DEV.id, gone: true } as const;
    expect(told({ sightings: [lost] }, by(100))).toContain(counted(DEV, 1));
    expect(told({ facts: built(DEV) }, by(100))).toContain(counted(DEV, 2));
    const revised = { kind: "deleted", id: DEV.id, number: 2, at: after(101) } as const;
    expect(told({ sightings: [revised] }, by(100)), "deleted all the same").toEqual([]);
    const open = { kind: "deleted", id: DEV.id, at: null } as const;
    expect(told({ sightings: [open] }, by(100))).toContain(counted(DEV, 2));
    expect(told({ sightings: [{ ...revised, at: after(100) }] }, by(100))).toEqual([]);
  });

  test("leave their places in the limit to others", () => {
    const limit = { seriesLimit: 2 };
    told({ facts: built(DEV) }, { ...by(0), ...limit });
    const full = told({ facts: built(OTHER) }, { ...by(0), ...limit });
    expect(full.filter((line) => line.includes("__other__"))).toHaveLength(1);
    told({ facts: [gone(DEV, 100)] }, { ...by(100), ...limit });
    const third = { ...OTHER, id: newId(), name: "third" };
    expect(told({ facts: built(third) }, { ...by(100), ...limit })).toContain(counted(third, 1));
    const back = told({ facts: built(AGAIN) }, { ...by(100), ...limit });
    expect(back, "whatever the limit: it had its place before").toContain(counted(DEV, 2));
  });

  test("are all there without retirement, with it again they are not, and no total moves", () => {
    const facts = [...built(DEV), ...built(OTHER), gone(DEV, 100)];
    expect(told({ facts }, { by: null })).toHaveLength(4);
    expect(lines(by(100)), "switched on").toHaveLength(2);
    told({ facts: built(DEV) }, by(100));
    expect(lines({ by: null })).toContain(counted(DEV, 2));
    expect(lines(by(100))).toHaveLength(2);
    expect(told({ facts: built(AGAIN) }, by(100))).toContain(counted(DEV, 3));
  });

  test("are a few at each commit where many are due", () => {
    const many = Array.from({ length: 24 }, (_, n) => ({
      id: newId(),
      owner: "carol",
      name: `w${n}`,
    }));
    const facts = many.flatMap((each, n) => [...built(each), gone(each, n)]);
    const left = (): number => told({}, by(1_000)).length / 2;
    told({ facts }, by(-1));
    expect([left(), left(), left()]).toEqual([14, 4, 0]);
  });
});

test("nothing of what is not committed stays", () => {
  told({ facts: built(DEV) }, by(100));
  opened(by(100), (store) => {
    {
      using transaction = store.begin();
      transaction.add(staged(store, { facts: [gone(DEV, 50)] }));
    }
    expect(series(store.load().totals, BUILDS)).toContain(counted(DEV, 1));
    write(store, { facts: [gone(DEV, 50)] });
    {
      using transaction = store.begin();
      transaction.add(staged(store, { facts: built(AGAIN) }));
    }
    expect(series(store.load().totals, BUILDS)).toEqual([]);
    expect(series(write(store, { facts: built(AGAIN) }).totals, BUILDS)).toContain(counted(DEV, 2));
  });
});

describe("what was deleted before the ledger began", () => {
  test("is in no series whose labels name a workspace, and in all others", () => {
    const totals = opened({ by: after(0) }, (store) => {
      using transaction = store.begin({ bulk: true });
      transaction.leaveOut([DEV.id]);
      const facts = [...built(DEV), joined(DEV), gone(DEV, 500), ...built(OTHER)];
      const put = [pendingAgent({ workspace: DEV, names: { ...AGENT_NAMES, agent: "second" } })];
      transaction.add(staged(store, { facts, put }));
      return transaction.commit(POSITION);
    });
    expect([...series(totals, BUILDS)].sort()).toEqual([counted(OTHER, 1), zero(OTHER)].sort());
    expect(series(totals, AGENTS)).toEqual([]);
    expect(series(totals, "workspace_creation_attempts_total")).toEqual([
      '{preset_name="large"} 2',
    ]);
    expect(told({ facts: built(AGAIN) }, { by: after(0) })).toContain(counted(DEV, 1));
    expect(lines({ by: null }), "unless nothing retires").toContain(counted(DEV, 2));
  });
});

test("a ledger that is completed has whose its agents are, by their frozen names, and retires at once what is due", () => {
  const facts = [joined(DEV), ...built(DEV), gone(DEV, 100), joined(OTHER)];
  const waits = pendingAgent({
    workspace: OTHER,
    names: { ...AGENT_NAMES, agent: "second", username: "bob" },
  });
  told({ facts, put: [waits] }, { by: null });
  {
    using db = new DatabaseSync(path);
    db.exec(
      `update fact set workspace = null where kind = 3; update entity set workspace = null;
       delete from fact where kind = 6; insert into meta values ('lacks', 'deletions')`,
    );
  }
  opened({ by: after(100) }, (store, { totals }) => {
    expect(series(totals, `${AGENTS}_count`)).toHaveLength(3);
    const renamed = facts.map((fact) =>
      "workspace" in fact && fact.workspace
        ? { ...fact, workspace: { ...fact.workspace, name: "renamed" } }
        : fact,
    );
    using transaction = store.begin();
    transaction.complete(staged(store, { facts: renamed, put: [waits] }));
    transaction.add(staged(store, { facts }));
    const after_ = transaction.commit(POSITION);
    expect(series(after_, `${AGENTS}_count`)).toHaveLength(2);
    expect(series(after_, BUILDS)).toEqual([]);
    const whose = [...store.ledger.facts(), ...store.ledger.entities()].flatMap((of) =>
      of.kind === "connected" || of.kind === "agent" ? [of.workspace?.name] : [],
    );
    expect(whose).toEqual(["dev", "dev", "dev"]);
  });
});

const WORKSPACES: readonly Workspace[] = [
  DEV,
  AGAIN,
  OTHER,
  { ...OTHER, owner: "alice" },
  { id: uuid(0x400), owner: "carol", name: "dev" },
];
const workspace = fc.constantFrom(...WORKSPACES);
const version = fc.constantFrom("v7", "v8");
const time = fc.integer({ min: 0, max: 60 });

/** What can happen to a store. */
const commands = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("build" as const), workspace, version }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("connect" as const), workspace }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), workspace }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("delete" as const), workspace, time }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("doubt" as const), workspace }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("trust" as const), workspace }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("pass" as const), time }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("fold again" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("switch" as const) }) },
  ),
  { minLength: 5, maxLength: 30 },
);
type Command = typeof commands extends fc.Arbitrary<(infer T)[]> ? T : never;

/** A store, and beside it what must be shown. */
class Pair implements Disposable {
  readonly model = new Told();
  #now = after(0);
  #retires = true;
  #version = 0;
  #store: Store;
  #page: readonly string[] = [];

  constructor(leftOut: readonly Workspace[]) {
    this.#store = this.#open();
    using transaction = this.#store.begin({ bulk: true });
    transaction.leaveOut(leftOut.map(({ id }) => id));
    for (const { id } of leftOut) this.model.leftOut.add(id);
    this.#page = sortedPage(transaction.commit(POSITION));
  }

  /** `do`es it, several of them in one commit. */
  run(batch: readonly Command[]): void {
    const written: { facts: Fact[]; sightings: Batch["sightings"] & {}; put: Batch["put"] & {} } = {
      facts: [],
      sightings: [],
      put: [],
    };
    for (const command of batch) {
      const one = this.#do(command);
      written.facts.push(...(one.facts ?? []));
      written.sightings = [...written.sightings, ...(one.sightings ?? [])];
      written.put = [...written.put, ...(one.put ?? [])];
    }
    for (const fact of written.facts) this.model.add(fact);
    this.model.waiting.push(...written.put);
    this.#page = sortedPage(write(this.#store, written).totals);
    this.model.commit(this.#retires ? this.#now : null);
  }

  expectSame(what: string): void {
    expect(this.#page, what).toEqual(this.model.page);
  }

  #do(command: Command): Batch {
    switch (command.do) {
      case "build":
        return { facts: built(command.workspace, command.version) };
      case "connect":
        return { facts: [joined(command.workspace)] };
      case "wait": {
        const names = {
          ...AGENT_NAMES,
          agent: "waits",
          username: command.workspace.owner,
          workspace: command.workspace.name,
        };
        return { put: [pendingAgent({ id: newId(), workspace: command.workspace, names })] };
      }
      case "delete": {
        const fact = gone(command.workspace, command.time);
        return { facts: [fact] };
      }
      case "doubt": {
        const { id } = command.workspace;
        if (!this.model.deletions.has(id)) return {};
        this.model.doubted.add(id);
        return { sightings: [{ kind: "deleted", id, at: null }] };
      }
      case "trust": {
        const known = this.model.deletions.get(command.workspace.id);
        if (!known) return {};
        this.model.doubted.delete(known.id);
        const { id, at, number } = known;
        return { sightings: [{ kind: "deleted", id, at, number }] };
      }
      case "pass":
        this.#now = Math.max(this.#now, after(command.time));
        return {};
      case "fold again":
        this.#version += 1;
        this.#restart();
        return {};
      case "switch":
        this.#retires = !this.#retires;
        this.model.upTo = null;
        if (this.#retires) this.model.commit(this.#now);
        else this.model.leftOut.clear();
        this.#restart();
        return {};
      case "restart":
        this.#restart();
        return {};
    }
  }

  #restart(): void {
    this.#store[Symbol.dispose]();
    this.#store = this.#open();
  }

  #open(): Store {
    const catalog = CATALOG.map((family) =>
      family.whose && this.#version > 0 ? { ...family, version: this.#version } : family,
    );
    const retireUpTo = this.#retires ? () => this.#now : null;
    const store = Store.open({ path, catalog, retireUpTo });
    this.#page = sortedPage(store.load().totals);
    return store;
  }

  /** After a restart it is the same, and so it is if all is folded again. */
  expectLasting(): void {
    for (const how of ["restart", "fold again"] as const) {
      this.#do({ do: how });
      this.expectSame(`after all, ${how}`);
    }
  }

  [Symbol.dispose](): void {
    this.#store[Symbol.dispose]();
  }
}

const RUNS = Number(process.env["FIRSTLIGHT_TEST_RUNS"] ?? 15);
const isAlone = ({ do: what }: Command): boolean =>
  ["restart", "fold again", "switch"].includes(what);

test("over any history it shows what follows from the facts and from how far it has come: at once, after a restart, and folded again", () => {
  const leftOut = fc.subarray(WORKSPACES.filter(({ owner }) => owner !== "bob").slice());
  fc.assert(
    fc.property(commands, fc.nat(3), leftOut, (all, together, none) => {
      path = newPath();
      using pair = new Pair(none.filter(({ id }) => id !== OTHER.id));
      for (let from = 0; from < all.length;) {
        const batch = all.slice(from, from + 1 + together);
        const alone = batch.findIndex(isAlone);
        const taken = alone < 0 ? batch : batch.slice(0, Math.max(alone, 1));
        pair.run(taken);
        from += taken.length;
        pair.expectSame(`${from} of ${JSON.stringify(all.slice(0, from))}`);
      }
      pair.expectLasting();
    }),
    { numRuns: RUNS },
  );
}, 300_000);

test("the file has each series in one place", () => {
  told({ facts: [...built(DEV), ...built(OTHER), gone(DEV, 1)] }, { by: after(1) });
  using db = new DatabaseSync(path, { readOnly: true });
  const rows = (table: string): unknown[] =>
    db
      .prepare(`select labels from ${table} where family = '${BUILDS}' order by labels`)
      .all()
      .map(({ labels }) => (JSON.parse(String(labels)) as string[])[0]);
  expect(rows("series")).toEqual(["bob", "bob"]);
  expect(rows("retired")).toEqual(["alice", "alice"]);
});

test("a series whose place is free is no line, neither in the text nor in the registry", () => {
  const text = opened({ by: after(1) }, (store) => {
    write(store, { facts: [...built(DEV), joined(DEV), ...built(OTHER), joined(OTHER)] });
    return page(write(store, { facts: [gone(DEV, 1)] }).totals);
  });
  expect(text).not.toContain("NaN");
  expect(text).not.toContain('workspace_owner="alice"');
});
