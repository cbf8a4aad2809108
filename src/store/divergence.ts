// Ids whose rows no longer say what was counted: listed, with what they say now, and taken off when they agree again.

import type { Sighting } from "../derive/fact.ts";
import { FACT_KINDS, decodeFinal, idToBytes } from "./codec.ts";
import type { Statements } from "./statements.ts";

/**
 * Compares what the tables say now with what was counted; returns how the number of divergent ids changes. `listed`: whether
 * any id of this kind is divergent already.
 */
export function compare(sql: Statements, sighting: Sighting, listed: boolean): -1 | 0 | 1 {
  const known = sql.getFinal(sighting.kind, sighting.id);
  if (known === null) return 0;
  const key = [FACT_KINDS[sighting.kind], idToBytes(sighting.id)] as const;
  const was = listed && sql.getDivergent.get(...key) !== undefined;
  const difference = differs(decodeFinal(known), sighting);
  if (difference === null) {
    if (was) sql.settleDivergent.run(...key);
    return was ? -1 : 0;
  }
  sql.putDivergent.run(...key, difference.reason, difference.seen);
  return was ? 0 : 1;
}

function differs(
  known: ReturnType<typeof decodeFinal>,
  sighting: Sighting,
): { reason: string; seen: string | null } | null {
  if ("gone" in sighting) return { reason: "vanished", seen: null };
  const { kind: _kind, id: _id, ...seen } = sighting;
  const same = Object.entries(seen).every(([field, value]) => Reflect.get(known, field) === value);
  return same ? null : { reason: "revised", seen: JSON.stringify(seen) };
}
