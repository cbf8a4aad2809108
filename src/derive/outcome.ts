// What one event leads to.

import type { Fact, Sighting } from "./fact.ts";
import type { Entity } from "./state.ts";

/** Facts to insert or ignore, sightings to compare, entities that begin and stop waiting: values, never references to state. */
export interface Outcome {
  readonly facts: readonly Fact[];
  readonly sightings: readonly Sighting[];
  readonly put: readonly Entity[];
  readonly drop: readonly Entity[];
}

export const NOTHING: Outcome = { facts: [], sightings: [], put: [], drop: [] };

/** Both: outcomes of one row. */
export function both(one: Outcome, other: Outcome): Outcome {
  if (one === NOTHING) return other;
  if (other === NOTHING) return one;
  return {
    facts: [...one.facts, ...other.facts],
    sightings: [...one.sightings, ...other.sightings],
    put: [...one.put, ...other.put],
    drop: [...one.drop, ...other.drop],
  };
}

export function alsoSeen(outcome: Outcome, sighting: Sighting): Outcome {
  return { ...outcome, sightings: [...outcome.sightings, sighting] };
}
