// Which durations are observed, and which are dropped because they can not be one.

import { type Micros, SECOND } from "../../change/micros.ts";
import type { Ended, Fact, Started } from "../../derive/fact.ts";
import { phasesOf } from "../../derive/light.ts";

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

/** The durations that histograms observe, or drop. */
export function durationsOf(fact: Fact): readonly Micros[] {
  switch (fact.kind) {
    case "ended":
      return fact.took === null ? [] : [fact.took];
    case "ran":
    case "ready":
      return [fact.took];
    case "started":
      return [waitOf(fact)];
    case "connected":
      return fact.light
        ? [fact.took, ...Object.values(phasesOf(fact.light, fact.at))]
        : [fact.took];
    default:
      return [];
  }
}

/** What a job waited for a worker: as upstream has it, never nothing. */
export function waitOf({ took }: Started): Micros {
  return Math.max(took, SHORTEST_WAIT);
}

/** Why these durations are not observed, or null when they are. What had them is a fact all the same. */
export function droppedBecause(
  ...durations: readonly Micros[]
): "negative" | "out_of_range" | null {
  if (durations.some((took) => took < 0)) return "negative";
  return durations.some((took) => took > LONGEST_SAMPLE) ? "out_of_range" : null;
}
