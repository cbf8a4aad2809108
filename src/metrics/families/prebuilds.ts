// The pool of prebuilt workspaces: what it began, what failed, what was claimed.

import type { Attempted, Names, Ended } from "../../derive/fact.ts";
import { type Family, type LabelValues, one } from "../family.ts";

/** In upstream's order. */
const LABELS = ["template_name", "preset_name", "organization_name"];
const POLLED =
  "coderd 2.22 (Premium): asked of whole tables once a minute by each replica, each of which shows the total; falls when a template is deleted.";

const labelsOf = ({ template, preset, organization }: Names): string[] => [
  template,
  preset,
  organization,
];

/** The pool makes workspaces of presets only. */
const offer = (names: Names): readonly LabelValues[] =>
  names.preset === "" ? [] : [labelsOf(names)];

/** As Coder has it: the first build of a workspace that the pool made, if it has a preset; whatever its transition. */
const isPrebuild = ({ names, traits }: Attempted | Ended): boolean =>
  traits.initial && traits.prebuild && names.preset !== "";

export const PREBUILD_FAMILIES: readonly Family[] = [
  {
    name: "prebuilt_workspaces_created_total",
    prefix: "coder",
    type: "counter",
    help: "Prebuilt workspaces that were begun (build 1 by the prebuilds user, with a preset), however they ended.",
    upstream: POLLED,
    shown: "by default",
    labels: LABELS,
    buckets: [],
    feeds: (fact) =>
      fact.kind === "attempted" && isPrebuild(fact) ? one(labelsOf(fact.names)) : null,
    offer,
  },
  {
    name: "prebuilt_workspaces_failed_total",
    prefix: "coder",
    type: "counter",
    help: "Prebuilt workspaces whose first build failed, also by the reaper.",
    upstream: POLLED,
    shown: "by default",
    labels: LABELS,
    buckets: [],
    feeds: (fact) =>
      fact.kind === "ended" && fact.status === "failure" && isPrebuild(fact)
        ? one(labelsOf(fact.names))
        : null,
    offer,
  },
  {
    name: "prebuilt_workspaces_claimed_total",
    prefix: "coder",
    type: "counter",
    help: "Prebuilt workspaces that were claimed, counted when the row of the claiming build is committed; preset_name is that of the prebuild.",
    upstream: `${POLLED} Counts workspaces that belong to somebody else by then; here the builds whose job says that they claim.`,
    shown: "by default",
    labels: LABELS,
    buckets: [],
    feeds: (fact) =>
      fact.kind === "attempted" && fact.traits.claimed
        ? one(labelsOf({ ...fact.names, preset: fact.traits.claimed }))
        : null,
    offer,
  },
];
