// The ledger against the tables by primary key, for the moments when the server may not be the one that told us: another
// system that claims to be ours, and a history that was cut short.

import { setImmediate as yieldToLoop } from "node:timers/promises";
import { NeedsOperator } from "../errors.ts";
import type { Lsn } from "../lsn.ts";
import type { Micros } from "../change/micros.ts";
import type { Fact, Sighting } from "../derive/fact.ts";
import { lookupFinalTimes } from "../postgres/lookup.ts";
import type { Session } from "../postgres/session.ts";
import type { Store } from "../store/store.ts";

/** So many of the newest facts must be found for another system to pass as the same Coder. */
const MUST_BE_FOUND = 100;
const LOOKED_UP_AT_ONCE = 1_000;
const NAMED = 5;

const NO_BUILD = { workspace: null, number: 0 } as const;

const keyOf = ({ kind, id }: Pick<Fact, "kind" | "id">): string => `${kind} ${id}`;

/**
 * Proves that this database holds what the ledger counted last: by id, with equal times. Throws `NeedsOperator` and names what
 * is missing.
 */
export async function requireKnownFacts(session: Session, store: Store): Promise<void> {
  const facts = store.ledger.recent(MUST_BE_FOUND);
  const times = await finalTimes(session, facts);
  const strange = facts.filter((fact) => times.get(keyOf(fact)) !== fact.at);
  if (strange.length === 0) return;
  throw new NeedsOperator(
    `${strange.length} of the ${facts.length} newest facts of the ledger are not in this database, or with other times: ${strange
      .slice(0, NAMED)
      .map(keyOf)
      .join(", ")}${strange.length > NAMED ? ", …" : ""}`,
    {
      reason: "system_changed",
      hint: "this is not the Coder that the ledger counted, or an older copy of it: point --database-url at the right one, or give this one its own --state",
    },
  );
}

/**
 * Facts told after this position that the tables no longer say: the row is gone, or has no final time again. Commits that a
 * failover or a restore lost.
 */
export async function lostFacts(session: Session, store: Store, after: Lsn): Promise<Sighting[]> {
  const lost: Sighting[] = [];
  const { state } = store.ledger;
  for (const suspects of store.ledger.factsAfter(after)) {
    for (let i = 0; i < suspects.length; i += LOOKED_UP_AT_ONCE) {
      const some = suspects.slice(i, i + LOOKED_UP_AT_ONCE);
      const times = await finalTimes(session, some);
      for (const fact of some) {
        const at = times.get(keyOf(fact));
        if (at !== undefined && at !== null) continue;
        const what = at === undefined ? ({ gone: true } as const) : ({ at: null } as const);
        lost.push({ kind: fact.kind, id: fact.id, ...what });
        const { workspace, number } = fact.kind === "ended" ? fact : NO_BUILD;
        if (workspace && state.createdBy(workspace.id) === number)
          lost.push({ kind: "created", id: workspace.id, ...what });
        if (workspace && state.deletedBy(workspace.id) === number)
          lost.push({ kind: "deleted", id: workspace.id, ...what });
      }
    }
    await yieldToLoop();
  }
  return lost;
}

/** By `kind id`; null where the row is not final. */
async function finalTimes(
  session: Session,
  facts: readonly Fact[],
): Promise<ReadonlyMap<string, Micros | null>> {
  const found = await lookupFinalTimes(
    session,
    facts.map(({ id }) => id),
  );
  return new Map(found.map((row) => [keyOf(row), row.at]));
}
