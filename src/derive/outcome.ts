// What one event comes to: values, never references to state.

import type { Fact, Sighting } from "./fact.ts";
import type { Entity } from "./state.ts";

/** Facts to insert or ignore, sightings to compare, entities that begin and stop waiting. */
export interface Outcome {
  readonly facts: readonly Fact[];
  readonly sightings: readonly Sighting[];
  readonly put: readonly Entity[];
  readonly drop: readonly Entity[];
}

export const NOTHING: Outcome = { facts: [], sightings: [], put: [], drop: [] };

/** The first one's facts, and what else it has, before the second one's. */
export function both(a: Outcome, b: Outcome): Outcome {
  if (a === NOTHING) return b;
  if (b === NOTHING) return a;
  return {
    facts: joined(a.facts, b.facts),
    sightings: joined(a.sightings, b.sightings),
    put: joined(a.put, b.put),
    drop: joined(a.drop, b.drop),
  };
}

/** Made for every row of a baseline, and one of the two is mostly empty. */
function joined<T>(a: readonly T[], b: readonly T[]): readonly T[] {
  if (a.length === 0) return b;
  return b.length === 0 ? a : [...a, ...b];
}
