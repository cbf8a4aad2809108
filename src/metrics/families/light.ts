// From click to usable workspace, in parts.

import type { BuildTraits } from "../../derive/fact.ts";
import { PHASES, phasesOf } from "../../derive/light.ts";
import type { Family } from "../family.ts";
import { droppedBecause } from "./durations.ts";

export const FIRST_LIGHT: Family = {
  name: "time_to_first_light_seconds",
  prefix: "own",
  type: "histogram",
  shown: "by default",
  help: "Seconds from the creation of a build that starts a workspace until its agent first connected, once for each agent (sub-agents left out), in phases: queue (until a provisioner took the job), provision (until the job ended), connect (until the agent connected) and total, their sum; type claim (of a prebuilt workspace), prebuild (by the prebuilds user) or regular (any other start, restarts too).",
  labels: ["organization_name", "template_name", "type", "phase"],
  buckets: [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600],
  feeds: (fact) => {
    if (fact.kind !== "connected" || fact.light === null) return null;
    const phases = phasesOf(fact.light, fact.at);
    if (droppedBecause(...Object.values(phases)) !== null) return null;
    const { organization, template } = fact.names;
    const type = typeOf(fact.light.traits);
    return PHASES.map((phase) => ({
      labels: [organization, template, type, phase],
      took: phases[phase],
    }));
  },
  // The pool makes workspaces of presets only.
  offer: ({ organization, template, preset }) =>
    (preset === "" ? ["regular"] : ["regular", "prebuild", "claim"]).flatMap((type) =>
      PHASES.map((phase) => [organization, template, type, phase]),
    ),
};

function typeOf({ prebuild, claimed }: BuildTraits): "prebuild" | "claim" | "regular" {
  if (prebuild) return "prebuild";
  return claimed === null ? "regular" : "claim";
}
