// Writing to a store as the pipeline does, with plain facts and entities.

import type { Fact, Sighting } from "../../src/derive/fact.ts";
import { Staged } from "../../src/derive/staged.ts";
import type { Entity } from "../../src/derive/state.ts";
import type { Totals } from "../../src/metrics/pages.ts";
import type { Position } from "../../src/store/position.ts";
import type { Store } from "../../src/store/store.ts";
import { parseLsn } from "../../src/lsn.ts";

export const POSITION: Position = {
  systemId: "7412345678901234567",
  timeline: 1,
  server: "10.0.0.1:5432",
  database: "coder",
  slot: "firstlight",
  publication: "16401:99",
  consistent: parseLsn("16/B374D000"),
  end: parseLsn("16/B374D848"),
};

export interface Batch {
  readonly facts?: readonly Fact[];
  readonly sightings?: readonly Sighting[];
  readonly put?: readonly Entity[];
  readonly drop?: readonly Entity[];
  readonly position?: Position;
}

/** A batch as derivation would leave it. */
export function staged(store: Store, batch: Batch): Staged {
  const all = new Staged(store.ledger.state);
  all.add({ facts: [], sightings: [], put: [], drop: [], ...batch });
  return all;
}

/** Commits one batch; returns the facts that were new, and the totals that may be shown. */
export function write(
  store: Store,
  batch: Batch,
): { readonly accepted: readonly Fact[]; readonly totals: Totals } {
  using transaction = store.begin();
  const accepted = transaction.add(staged(store, batch));
  return { accepted, totals: transaction.commit(batch.position ?? POSITION) };
}
