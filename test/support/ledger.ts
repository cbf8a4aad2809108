// The ledger of a store that nobody has open, for comparing it by id with the oracle.

import { createCatalog } from "../../src/metrics/catalog.ts";
import type {
  Attempted,
  Connected,
  Created,
  Ended,
  Fact,
  Ran,
  Started,
} from "../../src/derive/fact.ts";
import type { StoredSeries } from "../../src/metrics/fold.ts";
import { refold } from "../../src/store/load.ts";
import { Store } from "../../src/store/store.ts";

export const CATALOG = createCatalog({
  agentLabels: ["template_name", "agent_name", "username", "workspace_name"],
});

export interface Ledger {
  readonly facts: readonly Fact[];
  readonly attempted: ReadonlyMap<string, Attempted>;
  readonly ended: ReadonlyMap<string, Ended>;
  readonly created: ReadonlyMap<string, Created>;
  readonly connected: ReadonlyMap<string, Connected>;
  readonly started: ReadonlyMap<string, Started>;
  readonly ran: ReadonlyMap<string, Ran>;
  /** Jobs that run. */
  readonly running: ReadonlySet<string>;
  /** `kind id` → reason. */
  readonly divergent: ReadonlyMap<string, string>;
  /** `family labels` → numbers, as stored and as folded again from the ledger. */
  readonly stored: ReadonlyMap<string, readonly number[]>;
  readonly refolded: ReadonlyMap<string, readonly number[]>;
}

/** Reads a store from its file. The process that wrote it must have ended. */
export function readLedger(path: string): Ledger {
  using store = Store.open({ path, catalog: CATALOG });
  store.load();
  const facts = [...store.facts()];
  const ofKind = <K extends Fact["kind"]>(kind: K): Map<string, Extract<Fact, { kind: K }>> =>
    new Map(
      facts
        .filter((fact): fact is Extract<Fact, { kind: K }> => fact.kind === kind)
        .map((fact) => [fact.id, fact]),
    );
  const fold = refold(CATALOG, store);
  return {
    facts,
    attempted: ofKind("attempted"),
    ended: ofKind("ended"),
    created: ofKind("created"),
    connected: ofKind("connected"),
    started: ofKind("started"),
    ran: ofKind("ran"),
    running: new Set(store.waiting("job")),
    divergent: new Map(
      [...store.divergent()].map(({ kind, id, reason }) => [`${kind} ${id}`, reason]),
    ),
    stored: told(store.storedSeries()),
    refolded: told(fold.touched()),
  };
}

/** Totals only: gauges follow from what waits, and may have been born by what waits no longer. */
export function told(all: Iterable<StoredSeries>): ReadonlyMap<string, readonly number[]> {
  const totals = [...all].filter(({ values }) => values.length > 0);
  return new Map(totals.map((s) => [`${s.family} ${s.labels}`, [...s.values]]));
}
