// What was counted as a fact but not observed as a duration.

import { type Family, one } from "../family.ts";
import { droppedBecause, durationsOf } from "./durations.ts";

export const DROPPED_SAMPLES: Family = {
  name: "dropped_samples_total",
  prefix: "own",
  type: "counter",
  shown: "always",
  help: "First connections, provisioner jobs of all types, and starts, of which a duration (or a phase of the time to first light) was not observed, each once, by reason: negative (clock skew between coderd replicas, or of an agent) or beyond a hundred years.",
  labels: ["reason"],
  buckets: [],
  feeds: (fact) => {
    const reason = droppedBecause(...durationsOf(fact));
    return reason === null ? null : one([reason]);
  },
  initial: [["negative"], ["out_of_range"]],
};
