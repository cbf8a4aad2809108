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
    facts: [...a.facts, ...b.facts],
    sightings: [...a.sightings, ...b.sightings],
    put: [...a.put, ...b.put],
    drop: [...a.drop, ...b.drop],
  };
}
