// How long builds take that start a workspace, from their creation until it can be worked in.

import { START_STATUSES } from "../../change/start.ts";
import type { Family } from "../family.ts";
import { droppedBecause } from "./durations.ts";

export const START_DURATION: Family = {
  name: "template_workspace_build_duration_seconds",
  prefix: "coder",
  type: "histogram",
  help: "Seconds from the creation of a build that starts a workspace until all its agents (sub-agents left out) have run their startup scripts, by the clock of the last agent; once for each build, by the worst of how these ended when the last one did: success, timeout or error. is_prebuild is true for builds by the prebuilds user.",
  upstream:
    "coderd 2.31.1: a native histogram, observed in the replica that an agent reports to: gone at its restart, once more (and as long as the workspace is old) whenever an agent's process starts anew, maybe twice where two agents are ready at once, and without a guard against negative durations. is_prebuild is whose the workspace is by then.",
  labels: ["template_name", "organization_name", "transition", "status", "is_prebuild"],
  buckets: [1, 10, 30, 60, 300, 600, 1800, 3600],
  feeds: (fact) => {
    if (fact.kind !== "ready" || droppedBecause(fact.took) !== null) return null;
    const { names, traits, status, took } = fact;
    const { template, organization } = names;
    const { transition, prebuild } = traits;
    return [{ labels: [template, organization, transition, status, String(prebuild)], took }];
  },
  // The pool makes workspaces of presets only.
  offer: ({ template, organization, preset }) =>
    (preset === "" ? ["false"] : ["false", "true"]).flatMap((isPrebuild) =>
      START_STATUSES.map((status) => [template, organization, "start", status, isPrebuild]),
    ),
};
