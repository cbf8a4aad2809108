// The ledger's promises: insert or ignore, frozen names, all or nothing, divergence by id.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { Sighting } from "../../src/derive/fact.ts";
import { Transient } from "../../src/errors.ts";
import { parseLsn, toLsn } from "../../src/lsn.ts";
import { Store } from "../../src/store/store.ts";
import { CATALOG, OFFERED, series } from "../support/folding.ts";
import { sortedPage } from "../support/memory-state.ts";
import {
  AGENT_NAMES,
  LIGHT,
  NAMES,
  TRAITS,
  WORKSPACE,
  after,
  attempted,
  connected,
  created,
  deleted,
  ended,
  pendingAgent,
  pendingBuild,
  pendingStart,
  runningJob,
  uuid,
} from "../support/rows.ts";
import { POSITION, staged, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-store-"));
let path = "";
let count = 0;
beforeEach(() => {
  path = join(root, `${(count += 1)}.db`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function open(catalog = CATALOG): Store {
  const store = Store.open({ path, catalog });
  store.load();
  return store;
}

const ids = (facts: Iterable<{ kind: string; id: string }>): string[] =>
  [...facts].map(({ kind, id }) => `${kind} ${id}`).sort();

describe("a ledger of before version 3, which has no traits", () => {
  const success = ended({ took: 42_000_000 });
  const revised = ended({ id: uuid(30), took: 42_000_000 });
  const stop = { ...TRAITS, initial: false, transition: "stop" };
  const told = [attempted(), success, { ...revised, at: after(99), took: 111_000_000 }];

  /** As migration 000003 leaves it. */
  function older(): Store {
    {
      using store = open();
      write(store, {
        facts: [attempted(), success, revised, { ...OFFERED, id: uuid(70) }],
      });
    }
    const db = new DatabaseSync(path);
    db.exec(
      `update fact set traits = null, workspace = null, number = null, took = null,
         names = (select id from names where value not like '%v7%');
       delete from meta where key = 'catalog'; insert into meta values ('lacks', 'workspaces')`,
    );
    db.close();
    return open();
  }

  test("is completed in one commit and folded again; the duration of an end that was rewritten stays unknown", () => {
    using store = older();
    const durations = (): readonly string[] =>
      series(store.load().totals, "workspace_creation_duration_seconds_count").filter((line) =>
        line.includes("regular"),
      );
    expect([store.ledger.complete, durations()[0]?.at(-1)]).toEqual([false, "0"]);
    using transaction = store.begin();
    transaction.add(staged(store, { facts: [attempted({ id: uuid(40), traits: stop })] }));
    transaction.complete(staged(store, { facts: told }));
    transaction.commit(POSITION);
    expect([store.ledger.complete, durations()[0]?.at(-1)]).toEqual([true, "1"]);
    const took = [...store.ledger.facts()].flatMap((fact) =>
      fact.kind === "ended" ? [fact.took] : [],
    );
    expect(took).toEqual([42_000_000, null]);
    const builds = [...store.ledger.facts()].filter((fact) => "traits" in fact);
    expect(builds.map(({ names, number }) => [names.version, number])).toEqual(
      Array.from({ length: 4 }, () => ["v7", 1]),
    );
  });

  test("is as it was, and still not complete, where that is cut off", () => {
    using store = older();
    const before = sortedPage(store.load().totals);
    {
      using transaction = store.begin();
      transaction.complete(staged(store, { facts: told }));
    }
    expect(sortedPage(store.load().totals)).toEqual(before);
    expect(store.ledger.complete).toBe(false);
  });
});

describe("facts", () => {
  test("every kind comes back as it was written", () => {
    const facts = [
      OFFERED,
      attempted(),
      ended({ status: "failure", stage: "queue", errorCode: 'odd "code"\n' }),
      created({ id: uuid(80), number: 3 }),
      deleted({ id: uuid(84), number: 4 }),
      connected({ id: uuid(85), workspace: WORKSPACE, light: LIGHT }),
      attempted({ id: uuid(81), workspace: null, number: 0 }),
      connected({ took: -3_000_000 }),
    ];
    using store = open();
    expect(write(store, { facts }).accepted).toEqual(facts);
    expect([...store.ledger.facts()].sort((a, b) => a.id.localeCompare(b.id))).toEqual(
      facts.toSorted((a, b) => a.id.localeCompare(b.id)),
    );
  });

  test("what is known is ignored, its names and times stay as they were first", () => {
    using store = open();
    const { totals } = write(store, { facts: [attempted(), connected()] });
    const again = write(store, {
      facts: [
        attempted({ names: { ...NAMES, template: "renamed" }, at: after(9) }),
        connected({ took: 1, names: { ...AGENT_NAMES, username: "bob" } }),
      ],
    });
    expect(again.accepted).toEqual([]);
    expect(sortedPage(again.totals)).toEqual(sortedPage(totals));
    expect([...store.ledger.facts()]).toEqual([attempted(), connected()]);
  });

  test("an id counts once for each kind", () => {
    using store = open();
    const facts = [attempted({ id: uuid(1) }), ended({ id: uuid(1) }), connected({ id: uuid(1) })];
    expect(write(store, { facts }).accepted).toHaveLength(3);
    expect(store.ledger.state.known("offered", uuid(1))).toBe(false);
  });

  test("positions beyond 32 bits and times at both ends of the calendar survive", () => {
    const edge = Number.MAX_SAFE_INTEGER;
    const facts = [
      attempted({ at: -edge, end: toLsn(2n ** 52n + 1n) }),
      connected({ at: edge, took: edge }),
    ];
    using store = open();
    write(store, { facts });
    expect([...store.ledger.facts()]).toEqual(facts);
  });
});

describe("what waits", () => {
  test("is there until it is dropped, also for the next process", () => {
    {
      using store = open();
      write(store, { put: [pendingBuild(), pendingAgent(), runningJob(), pendingStart()] });
      expect(store.counts.waiting).toEqual({ build: 1, agent: 1, job: 1, start: 1 });
    }
    using store = open();
    expect(store.ledger.state.pendingBuild(uuid(3))).toEqual(pendingBuild());
    expect(store.ledger.state.pendingAgent(uuid(5))).toEqual(pendingAgent());
    expect(store.ledger.state.pendingAgent(uuid(3)), "ids are told apart by kind").toBeUndefined();
    expect([...store.ledger.waiting("build")]).toEqual([uuid(3)]);
    expect(store.ledger.state.runningJob(uuid(3)), "as its build").toEqual(runningJob());
    expect([...store.ledger.waiting("job")]).toEqual([uuid(3)]);
    expect(store.counts.waiting).toEqual({ build: 1, agent: 1, job: 1, start: 1 });

    write(store, { drop: [pendingBuild(), pendingAgent(), runningJob(), pendingStart()] });
    expect([...store.ledger.entities()]).toEqual([]);
    expect(store.counts.waiting).toEqual({ build: 0, agent: 0, job: 0, start: 0 });
  });

  test("putting or dropping it twice counts it once", () => {
    using store = open();
    write(store, { put: [pendingBuild()] });
    write(store, { put: [pendingBuild({ createdAt: after(9) })] });
    expect(store.ledger.state.pendingBuild(uuid(3))).toEqual(pendingBuild());
    write(store, { drop: [pendingBuild()] });
    const { totals } = write(store, { drop: [pendingBuild()] });
    expect(store.counts.waiting.build).toBe(0);
    expect(series(totals, "workspace_creations_in_flight")).toEqual(['{preset_name="large"} 0']);
  });

  test("the gauges of what waits are the same after a restart", () => {
    let before: readonly string[];
    {
      using store = open();
      write(store, { facts: [attempted()], put: [pendingBuild({ id: uuid(20) })] });
      before = sortedPage(write(store, { put: [pendingBuild({ createdAt: after(5) })] }).totals);
    }
    using store = open();
    expect(sortedPage(store.load().totals)).toEqual(before);
  });
});

describe("the position", () => {
  test("is null while the store is empty, then the last one committed", () => {
    using store = Store.open({ path, catalog: CATALOG });
    expect(store.load().position).toBeNull();
    write(store, {});
    expect(store.load().position).toEqual(POSITION);
    const later = {
      ...POSITION,
      timeline: 4_294_967_295,
      systemId: "18446744073709551615",
      end: parseLsn("7FFFFFFF/FFFFFFFF"),
    };
    write(store, { position: later });
    expect(store.load().position).toEqual(later);
  });
});

describe("a write that is not committed", () => {
  const FIRST = { facts: [attempted()], put: [pendingBuild()] };
  const LOST = {
    facts: [attempted({ id: uuid(30), names: { ...NAMES, template: "never" } }), ended()],
    drop: [pendingBuild()],
    sightings: [{ kind: "attempted", id: uuid(1), gone: true }] as const,
  };

  test("leaves nothing: facts, names, entities, series, divergent ids, position", () => {
    using store = open();
    const { totals } = write(store, FIRST);
    const page = sortedPage(totals);
    {
      using transaction = store.begin();
      expect(transaction.add(staged(store, LOST))).toHaveLength(2);
    }
    const loaded = store.load();
    expect(sortedPage(loaded.totals)).toEqual(page);
    expect(sortedPage(totals), "what was shown meanwhile stays").toEqual(page);
    expect(loaded.position).toEqual(POSITION);
    expect(ids(store.ledger.facts())).toEqual(ids([attempted()]));
    expect([...store.ledger.entities()]).toEqual([pendingBuild()]);
    expect([...store.ledger.divergent()]).toEqual([]);
    expect(store.counts).toMatchObject({
      waiting: { build: 1 },
      divergent: { attempted: 0 },
    });
    expect(store.ledger.state.known("attempted", uuid(30))).toBe(false);
  });

  test("can be written again after a load, names that were never stored included", () => {
    using store = open();
    write(store, FIRST);
    {
      using transaction = store.begin();
      transaction.add(staged(store, LOST));
    }
    store.load();
    expect(write(store, LOST).accepted).toHaveLength(2);
    expect(ids(store.ledger.facts())).toEqual(
      ids([attempted(), ended(), attempted({ id: uuid(30) })]),
    );
    expect(
      [...store.ledger.facts()].map((fact) => "names" in fact && fact.names.template),
    ).toContain("never");
  });

  test("what the disk refuses is an error that may pass, and nothing is half there", () => {
    using store = open();
    write(store, FIRST);
    {
      using transaction = store.begin();
      const broken = attempted({ id: uuid(31), at: Number.NaN });
      const work = () => transaction.add(staged(store, { facts: [ended(), broken] }));
      expect(work).toThrow(Transient);
    }
    store.load();
    expect(ids(store.ledger.facts())).toEqual(ids([attempted()]));
    expect(() => {
      using outer = store.begin();
      expect(outer).toBeDefined();
      using _second = store.begin();
    }).toThrow(Transient);
    expect(write(store, { facts: [ended()] }).accepted).toHaveLength(1);
  });
});

describe("divergent ids", () => {
  const same = { kind: "connected", id: uuid(5), at: after(41.2), took: 41_200_000 } as const;
  const revised = { ...same, at: after(43), took: 43_000_000 };
  const gone = { kind: "connected", id: uuid(5), gone: true } as const;

  test("are those whose rows say something else than was counted, until they do not", () => {
    using store = open();
    const listed = (sighting: Sighting) => {
      write(store, { sightings: [sighting] });
      expect(store.counts.divergent.connected).toBe([...store.ledger.divergent()].length);
      return [...store.ledger.divergent()].map(({ reason, seen }) => [
        reason,
        seen && JSON.parse(seen),
      ]);
    };
    write(store, { facts: [connected()] });
    expect(listed(same)).toEqual([]);
    expect(listed(revised)).toEqual([["revised", { at: after(43), took: 43_000_000 }]]);
    expect(listed(revised), "once, however often").toHaveLength(1);
    expect(listed(gone)).toEqual([["vanished", null]]);
    expect(listed(same), "back to what was counted").toEqual([]);
  });

  test("never change a total", () => {
    using store = open();
    const { totals } = write(store, { facts: [connected()] });
    const later = write(store, { sightings: [revised, gone] });
    expect(sortedPage(later.totals)).toEqual(sortedPage(totals));
  });

  test("are never ids that were not counted", () => {
    using store = open();
    write(store, { sightings: [revised, gone, { kind: "attempted", id: uuid(1), gone: true }] });
    expect([...store.ledger.divergent()]).toEqual([]);
    expect(store.counts.divergent).toMatchObject({ connected: 0, attempted: 0 });
  });

  test("are known to the next process, each kind for itself", () => {
    {
      using store = open();
      write(store, { facts: [connected(), ended()] });
      write(store, { sightings: [revised, { kind: "ended", id: uuid(3), gone: true }] });
    }
    using store = open();
    expect(store.counts.divergent).toEqual({
      attempted: 0,
      ended: 1,
      connected: 1,
      offered: 0,
      created: 0,
      deleted: 0,
      started: 0,
      ran: 0,
      ready: 0,
      overdue: 0,
    });
  });
});
