// The ledger of a store that nobody has open, for comparing it by id with the oracle.

import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { Uuid } from "../../src/change/row.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import type {
  Attempted,
  Connected,
  Created,
  Deleted,
  Ended,
  Fact,
  Overdue,
  Ran,
  Ready,
  Started,
} from "../../src/derive/fact.ts";
import { Fold, type StoredSeries } from "../../src/metrics/fold.ts";
import { NO_RETIREMENT } from "../../src/metrics/hiding.ts";
import { bytesToId } from "../../src/store/codec.ts";
import { Store } from "../../src/store/store.ts";

export const CATALOG = createCatalog({
  agentLabels: ["template_name", "agent_name", "username", "workspace_name"],
});

export interface Ledger {
  readonly facts: readonly Fact[];
  readonly attempted: ReadonlyMap<string, Attempted>;
  readonly ended: ReadonlyMap<string, Ended>;
  readonly created: ReadonlyMap<string, Created>;
  readonly deleted: ReadonlyMap<string, Deleted>;
  readonly connected: ReadonlyMap<string, Connected>;
  readonly started: ReadonlyMap<string, Started>;
  readonly ran: ReadonlyMap<string, Ran>;
  readonly overdue: ReadonlyMap<string, Overdue>;
  /** Agents that are told overdue when their time is up. */
  readonly due: ReadonlySet<string>;
  readonly ready: ReadonlyMap<string, Ready>;
  /** Jobs that run. */
  readonly running: ReadonlySet<string>;
  /** `kind id` → reason. */
  readonly divergent: ReadonlyMap<string, string>;
  /** `family labels` → numbers, as stored, what is not shown included, and as folded again from the ledger. */
  readonly stored: ReadonlyMap<string, readonly number[]>;
  readonly refolded: ReadonlyMap<string, readonly number[]>;
}

/** Reads a store from its file. The process that wrote it must have ended. */
export function readLedger(path: string): Ledger {
  const { retires, leftOut } = retirementIn(path);
  // Nothing of it moves on here.
  const retireUpTo = retires ? () => Number.MIN_SAFE_INTEGER : null;
  using store = Store.open({ path, catalog: CATALOG, retireUpTo });
  store.load();
  const facts = [...store.ledger.facts()];
  const ofKind = <K extends Fact["kind"]>(kind: K): Map<string, Extract<Fact, { kind: K }>> =>
    new Map(
      facts
        .filter((fact): fact is Extract<Fact, { kind: K }> => fact.kind === kind)
        .map((fact) => [fact.id, fact]),
    );
  // What is hidden, once more: here it is beside what is shown.
  const sums = new Set(CATALOG.flatMap((family) => ("hiddenIn" in family ? [family.name] : [])));
  const isLeftOut = (id: Uuid): boolean => leftOut.has(id);
  const fold = new Fold(CATALOG, undefined, { ...NO_RETIREMENT, isLeftOut });
  for (const fact of facts) fold.add(fact);
  for (const entity of store.ledger.entities()) fold.put(entity);
  return {
    facts,
    attempted: ofKind("attempted"),
    ended: ofKind("ended"),
    created: ofKind("created"),
    deleted: ofKind("deleted"),
    connected: ofKind("connected"),
    started: ofKind("started"),
    ran: ofKind("ran"),
    overdue: ofKind("overdue"),
    due: new Set([...store.ledger.deadlines()].map(({ agent }) => agent)),
    ready: ofKind("ready"),
    running: new Set(store.ledger.waiting("job")),
    divergent: new Map(
      [...store.ledger.divergent()].map(({ kind, id, reason }) => [`${kind} ${id}`, reason]),
    ),
    stored: told(
      [...store.ledger.storedSeries(), ...store.ledger.retiredSeries()].filter(
        ({ family }) => !sums.has(family),
      ),
    ),
    refolded: told(fold.touched()),
  };
}

/** Whether series retire in this store, and whose there are none. */
function retirementIn(path: string): {
  readonly retires: boolean;
  readonly leftOut: ReadonlySet<Uuid>;
} {
  const none = { retires: false, leftOut: new Set<Uuid>() };
  if (!existsSync(path)) return none;
  using db = new DatabaseSync(path);
  if (!db.prepare("select 1 from sqlite_schema where name = 'gone'").get()) return none;
  const upTo = db.prepare("select value from meta where key = 'retired_up_to'").get();
  const rows = db.prepare("select id from gone").all();
  return { retires: upTo !== undefined, leftOut: new Set(rows.map(({ id }) => bytesToId(id))) };
}

/** What is listed, beside starts: that agents are late, or start once more, is their daily life (`expectStartsEqualTables`). */
export function divergentBesideStarts({
  divergent,
}: Pick<Ledger, "divergent">): Map<string, string> {
  return new Map([...divergent].filter(([key]) => !key.startsWith("ready ")));
}

/** Totals only: gauges follow from what waits, and may have been born by what waits no longer. */
export function told(all: Iterable<StoredSeries>): ReadonlyMap<string, readonly number[]> {
  const totals = [...all].filter(({ values }) => values.length > 0);
  return new Map(totals.map((s) => [`${s.family} ${s.labels}`, [...s.values]]));
}
