// Which durations are observed, and which are dropped because they can not be one.

import { type Micros, SECOND } from "../../change/micros.ts";
import type { Ended, Fact, Started } from "../../derive/fact.ts";

/** Durations beyond a hundred years are broken clocks or hand-written rows; they would drown every sum. */
const LONGEST_SAMPLE: Micros = 100 * 365 * 86_400 * SECOND;

const SHORTEST_WAIT: Micros = 1_000;

/** How a workspace was made ready, where that is timed: upstream's order, a prebuild before a claim before a first build. */
export function creationOf({
  status,
  traits,
  took,
}: Ended): "prebuild" | "claim" | "regular" | null {
  if (status !== "success" || traits.transition !== "start" || took === null) return null;
  if (traits.prebuild) return "prebuild";
  if (traits.claimed !== null) return "claim";
  return traits.initial ? "regular" : null;
}

/** The duration that a histogram observes, or drops; null: none does. */
export function durationOf(fact: Fact): Micros | null {
  if (fact.kind === "started") return waitOf(fact);
  return "took" in fact ? fact.took : null;
}

/** What a job waited for a worker: as upstream has it, never nothing. */
export function waitOf({ took }: Started): Micros {
  return Math.max(took, SHORTEST_WAIT);
}

/** Why a duration is not observed, or null when it is. What had it is a fact all the same. */
export function droppedBecause(took: Micros): "negative" | "out_of_range" | null {
  if (took < 0) return "negative";
  return took > LONGEST_SAMPLE ? "out_of_range" : null;
}
