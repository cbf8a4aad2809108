// Provisioner jobs of all types: how long they wait for a worker, how long they take, and how many run.

import { REASONS } from "../../change/cells.ts";
import { TRANSITIONS } from "../../change/row.ts";
import { BUILD_JOB, type Started } from "../../derive/fact.ts";
import type { Family, LabelValues } from "../family.ts";
import { droppedBecause, waitOf } from "./durations.ts";
import { STATUSES, statusOf } from "./status.ts";

const WAITS = [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 900, 1800];
const BUCKETS = [1, 10, 30, 60, 300, 600, 1800, 3600];

/** Every reason there is today, and the other types of jobs, with Coder's own provisioner. */
const QUEUED: readonly LabelValues[] = [
  ...TRANSITIONS.flatMap((transition) =>
    [...REASONS, "prebuild"].map((reason) => ["terraform", BUILD_JOB, transition, reason]),
  ),
  ["terraform", "template_version_import", "", ""],
  ["terraform", "template_version_dry_run", "", ""],
];

export const JOB_FAMILIES: readonly Family[] = [
  {
    name: "provisioner_job_queue_wait_seconds",
    prefix: "coder",
    type: "histogram",
    help: "Seconds from a provisioner job's creation to when a worker took it, at least 0.001; jobs of all types. transition and build_reason are empty unless it builds a workspace; build_reason is prebuild for all builds by the prebuilds user.",
    upstream:
      "coderd 2.31.1: a native histogram, observed in the replica that gave the job away: gone at its restart. A job whose payload could not be built, so that it failed at once, is not observed there; here it waited like any other.",
    labels: ["provisioner_type", "job_type", "transition", "build_reason"],
    buckets: WAITS,
    feeds: (fact) => {
      if (fact.kind !== "started") return null;
      const took = waitOf(fact);
      return droppedBecause(took) === null ? [{ labels: queueOf(fact), took }] : null;
    },
    initial: QUEUED,
  },
  {
    name: "provisionerd_job_timings_seconds",
    prefix: "coder",
    type: "histogram",
    help: "Seconds from when a worker took a provisioner job to its end, by status: success or failed; jobs of all types.",
    upstream:
      "coderd, where the job's provisioner daemon runs: observed in memory, gone at its restart; by the daemon's own watch, which differs from the rows by what it takes to tell them. A job whose daemon dies is not observed, one whose report is refused is a success.",
    shown: "by default",
    labels: ["provisioner", "status"],
    buckets: BUCKETS,
    feeds: (fact) => {
      if (fact.kind !== "ended" && fact.kind !== "ran") return null;
      const { took } = fact;
      if (took === null || droppedBecause(took) !== null) return null;
      const { provisioner } = fact.kind === "ended" ? fact.traits : fact;
      return [{ labels: [provisioner, statusOf(fact)], took }];
    },
    initial: STATUSES.map((status) => ["terraform", status]),
  },
  {
    name: "provisionerd_jobs_current",
    prefix: "coder",
    type: "gauge",
    value: "count",
    help: "Provisioner jobs, of all types, that a worker has and that have not ended.",
    upstream:
      "coderd, where provisioner daemons run: the jobs that each daemon works on; a job whose daemon died is gone there, and is here until the reaper ends it.",
    labels: ["provisioner"],
    of: (entity) => (entity.kind === "job" ? [entity.provisioner] : null),
    initial: [["terraform"]],
  },
];

function queueOf(fact: Started): LabelValues {
  if (!("traits" in fact)) return [fact.provisioner, fact.type, "", ""];
  const { provisioner, transition, prebuild, reason } = fact.traits;
  return [provisioner, BUILD_JOB, transition, prebuild ? "prebuild" : reason];
}
