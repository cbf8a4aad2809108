// What was counted as a fact but not observed as a duration.

import { type Family, one } from "../family.ts";
import { droppedBecause, durationOf } from "./durations.ts";

export const DROPPED_SAMPLES: Family = {
  name: "dropped_samples_total",
  prefix: "own",
  type: "counter",
  help: "First connections and provisioner jobs, of all types, whose duration was not observed, by reason: negative (clock skew between coderd replicas) or beyond a hundred years.",
  labels: ["reason"],
  buckets: [],
  feeds: (fact) => {
    const took = durationOf(fact);
    const reason = took === null ? null : droppedBecause(took);
    return reason === null ? null : one([reason]);
  },
  initial: [["negative"], ["out_of_range"]],
};
