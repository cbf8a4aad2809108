// The headline: first builds of workspaces by people, from attempt to outcome.

import { type Attempted, type Ended, type Fact, isFirstBuild } from "../../derive/fact.ts";
import type { Entity } from "../../derive/state.ts";
import { type Family, one } from "../family.ts";
import { BUILD_LABELS, buildLabels } from "./labels.ts";

/** Error codes that every label set is born with; codes seen later join them. */
export const BASE_ERROR_CODES = ["other", "user_canceled"] as const;

const STATUSES = ["success", "failure", "canceled"];
const STAGES = ["queue", "provisioner"];
const PROPOSED = "Proposed for coderd (coder/coder#21281), never merged.";

/** Whether this fact tells of a first build. */
function isFirst<K extends "attempted" | "ended">(
  fact: Fact,
  kind: K,
): fact is Extract<Fact, { kind: K }> {
  return fact.kind === kind && isFirstBuild((fact as Attempted | Ended).traits);
}

const inFlight = (entity: Entity): string[] | null =>
  entity.kind === "build" && isFirstBuild(entity.traits) ? buildLabels(entity.names) : null;

export const CREATION_FAMILIES: readonly Family[] = [
  {
    name: "workspace_creation_attempts_total",
    prefix: "coder",
    type: "counter",
    help: "First builds of workspaces (build number 1, transition start, not by the prebuilds user), counted when their row is committed. Attempts that fail before Coder commits the row are not visible.",
    upstream: PROPOSED,
    shown: "by default",
    labels: BUILD_LABELS,
    buckets: [],
    feeds: (fact) => (isFirst(fact, "attempted") ? one(buildLabels(fact.names)) : null),
    offer: (names) => [buildLabels(names)],
  },
  {
    name: "workspace_creation_outcomes_total",
    prefix: "coder",
    type: "counter",
    help: "First builds of workspaces by the first final state of their job: success, failure (also when a running build was canceled, and when the reaper ended it) or canceled.",
    upstream: PROPOSED,
    shown: "by default",
    labels: [...BUILD_LABELS, "status"],
    buckets: [],
    feeds: (fact) =>
      isFirst(fact, "ended") ? one([...buildLabels(fact.names), fact.status]) : null,
    offer: (names) => STATUSES.map((status) => [...buildLabels(names), status]),
  },
  {
    name: "workspace_creation_failures_total",
    prefix: "coder",
    type: "counter",
    help: "Failed first builds of workspaces by where they failed (queue: no provisioner had taken the job) and by Coder's error code, user_canceled, or other.",
    shown: "by default",
    labels: [...BUILD_LABELS, "stage", "error_code"],
    buckets: [],
    feeds: (fact) =>
      isFirst(fact, "ended") && fact.status === "failure"
        ? one([...buildLabels(fact.names), fact.stage, fact.errorCode])
        : null,
    offer: (names, errorCodes) =>
      STAGES.flatMap((stage) =>
        [...errorCodes].map((code) => [...buildLabels(names), stage, code]),
      ),
  },
  {
    name: "workspace_creation_total",
    prefix: "coder",
    type: "counter",
    help: "Workspaces that people made and that were built: counted at their first build that starts and succeeds, also when builds before it failed.",
    upstream:
      "coderd 2.27: asked of whole tables once a minute by each replica, each of which shows the total; falls when a template is deleted, moves when it is renamed, and is taken apart and put together again under the eyes of a scrape.",
    shown: "by default",
    labels: BUILD_LABELS,
    buckets: [],
    feeds: (fact) =>
      fact.kind === "created" && !fact.traits.prebuild ? one(buildLabels(fact.names)) : null,
    offer: (names) => [buildLabels(names)],
  },
  {
    name: "workspace_creations_in_flight",
    prefix: "coder",
    type: "gauge",
    value: "count",
    help: "First builds of workspaces whose job has not ended.",
    shown: "by default",
    labels: BUILD_LABELS,
    of: inFlight,
    offer: (names) => [buildLabels(names)],
  },
  {
    name: "workspace_creation_oldest_in_flight_timestamp_seconds",
    prefix: "coder",
    type: "gauge",
    value: "oldest",
    help: "Creation time of the oldest first build whose job has not ended; absent while there is none.",
    shown: "by default",
    labels: BUILD_LABELS,
    of: inFlight,
  },
];
