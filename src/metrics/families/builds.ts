// Builds of every kind, and how long it takes to make a workspace.

import { REASONS } from "../../change/cells.ts";
import { TRANSITIONS } from "../../change/row.ts";
import type { Ended, OfBuild } from "../../derive/fact.ts";
import { type Family, type Sample, one } from "../family.ts";
import { creationOf, droppedBecause } from "./durations.ts";
import { BUILD_LABELS, buildLabels } from "./labels.ts";
import { STATUSES, statusOf } from "./status.ts";

const BUCKETS = [1, 10, 30, 60, 300, 600, 1800, 3600];
const CLAIM_BUCKETS = [1, 5, 10, 20, 30, 60, 120, 180, 240, 300];
const OBSERVED_IN_MEMORY =
  "a native histogram, observed in the replica that completed the job: gone at its restart, twice when a completion is repeated, and without a guard against negative durations. Here: classic buckets, each job once, all-time.";

/** Every reason there is today, with Coder's own provisioner. */
const ENQUEUED = TRANSITIONS.flatMap((transition) =>
  [...REASONS, "prebuild"].map((reason) => ["terraform", reason, transition, "success"]),
);

export const BUILD_FAMILIES: readonly Family[] = [
  {
    name: "workspace_builds_enqueued_total",
    prefix: "coder",
    type: "counter",
    help: "Workspace builds that were enqueued, counted when their row is committed; build_reason is prebuild for all builds by the prebuilds user. status is always success: an attempt that fails leaves no row.",
    upstream:
      "coderd 2.31.1: counted in memory before the transaction commits, so a rollback counts too, and from 0 after a restart.",
    labels: ["provisioner_type", "build_reason", "transition", "status"],
    buckets: [],
    feeds: (fact) => {
      if (fact.kind !== "attempted") return null;
      const { provisioner, prebuild, reason, transition } = fact.traits;
      return one([provisioner, prebuild ? "prebuild" : reason, transition, "success"]);
    },
    initial: ENQUEUED,
  },
  {
    name: "workspace_creation_duration_seconds",
    prefix: "coder",
    type: "histogram",
    help: "Seconds from when a provisioner took the job to its success, of builds that create a workspace: type prebuild (by the prebuilds user) or regular (a person's first build). Waiting in the queue is not included.",
    upstream: `coderd 2.27: ${OBSERVED_IN_MEMORY}`,
    shown: "by default",
    labels: [...BUILD_LABELS, "type"],
    buckets: BUCKETS,
    feeds: (fact) => {
      if (fact.kind !== "ended") return null;
      const type = creationOf(fact);
      return type === null || type === "claim" ? null : observed(fact, [type]);
    },
    // The pool makes workspaces of presets only.
    offer: (names) =>
      (names.preset === "" ? ["regular"] : ["regular", "prebuild"]).map((type) => [
        ...buildLabels(names),
        type,
      ]),
  },
  {
    name: "prebuilt_workspace_claim_duration_seconds",
    prefix: "coder",
    type: "histogram",
    help: "Seconds from when a provisioner took the job to its success, of builds that claim a prebuilt workspace.",
    upstream: `coderd 2.27: ${OBSERVED_IN_MEMORY}`,
    shown: "by default",
    labels: BUILD_LABELS,
    buckets: CLAIM_BUCKETS,
    feeds: (fact) =>
      fact.kind === "ended" && creationOf(fact) === "claim" ? observed(fact, []) : null,
    offer: (names) => (names.preset === "" ? [] : [buildLabels(names)]),
  },
  {
    name: "workspace_builds_total",
    prefix: "coder",
    type: "counter",
    help: "Workspace builds that a provisioner had and that ended, by workspace: status success or failed; a build that was canceled but done all the same is a success. Names are those of when it was enqueued.",
    upstream:
      "coderd, where a build's provisioner daemon runs: counted in memory, from 0 after a restart and from 1 for each new label set, so that increase() misses the first; a build whose daemon dies is not counted, one whose report is refused is a success.",
    labels: [
      "workspace_owner",
      "workspace_name",
      "template_name",
      "template_version",
      "workspace_transition",
      "status",
    ],
    whose: [0, 1],
    shown: "by default",
    buckets: [],
    feeds: (fact) => {
      if (fact.kind !== "ended" || fact.took === null) return null;
      return one([...whoseBuild(fact), ...whatBuild(fact), statusOf(fact)]);
    },
    begun: (build) => STATUSES.map((status) => [...whoseBuild(build), ...whatBuild(build), status]),
  },
  {
    name: "provisionerd_workspace_build_timings_seconds",
    prefix: "coder",
    type: "histogram",
    help: "Seconds from when a provisioner took a workspace build to its end, by status: success or failed.",
    upstream:
      "coderd 2.19, where a build's provisioner daemon runs: observed in memory, gone at its restart; by the daemon's own watch, which differs from the rows by what it takes to tell them.",
    labels: ["template_name", "template_version", "workspace_transition", "status"],
    buckets: BUCKETS,
    feeds: (fact) => {
      if (fact.kind !== "ended" || fact.took === null || droppedBecause(fact.took) !== null)
        return null;
      return [{ labels: [...whatBuild(fact), statusOf(fact)], took: fact.took }];
    },
    begun: (build) => STATUSES.map((status) => [...whatBuild(build), status]),
  },
];

const whoseBuild = ({ workspace }: OfBuild): string[] => [
  workspace?.owner ?? "",
  workspace?.name ?? "",
];

const whatBuild = ({ names, traits }: OfBuild): string[] => [
  names.template,
  names.version,
  provisionerWord(traits.transition),
];

/** What a provisioner calls a transition (provisionersdk/proto: START, STOP, DESTROY). */
function provisionerWord(transition: string): string {
  return transition === "delete" ? "DESTROY" : transition.toUpperCase();
}

/** A duration, unless it can not be one. */
function observed({ names, took }: Ended, more: readonly string[]): readonly Sample[] | null {
  if (took === null || droppedBecause(took) !== null) return null;
  return [{ labels: [...buildLabels(names), ...more], took }];
}
