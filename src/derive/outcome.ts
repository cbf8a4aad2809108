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
    facts: joined(one.facts, other.facts),
    sightings: joined(one.sightings, other.sightings),
    put: joined(one.put, other.put),
    drop: joined(one.drop, other.drop),
  };
}

/** All of them: outcomes of several ids. */
export function together(outcomes: readonly Outcome[]): Outcome {
  return {
    facts: outcomes.flatMap(({ facts }) => facts),
    sightings: outcomes.flatMap(({ sightings }) => sightings),
    put: outcomes.flatMap(({ put }) => put),
    drop: outcomes.flatMap(({ drop }) => drop),
  };
}

/** Made for every row of a baseline, and one of the two is mostly empty. */
function joined<T>(a: readonly T[], b: readonly T[]): readonly T[] {
  if (a.length === 0) return b;
  return b.length === 0 ? a : [...a, ...b];
}

export function alsoSeen(outcome: Outcome, sighting: Sighting): Outcome {
  return { ...outcome, sightings: [...outcome.sightings, sighting] };
}
