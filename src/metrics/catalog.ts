// Every all-time metric as data: its name, what it means, and which facts feed it how.
// The fold, the exposition and the documentation tables are all made from this one list.

import type { Micros } from "../change/micros.ts";
import { SECOND } from "../change/micros.ts";
import type { AgentNames, BuildNames, Fact } from "../derive/fact.ts";
import type { Entity } from "../derive/state.ts";

/** Values in the order of the family's `labels`. */
export type LabelValues = readonly string[];

interface Described {
  /** Without its prefix. */
  readonly name: string;
  /** `coder`: takes the configurable prefix, a drop-in for what coderd exports; `own`: `firstlight_`. */
  readonly prefix: "coder" | "own";
  readonly help: string;
  readonly labels: readonly string[];
}

/** A total: the fold of facts. */
export interface FoldedFamily extends Described {
  readonly type: "counter" | "histogram";
  /** Upper bounds in seconds, ascending, without +Inf. Histograms only. */
  readonly buckets: readonly number[];
  /** Label values this fact adds to, and for histograms the duration it observes; null when it does not feed this family. */
  readonly feeds: (fact: Fact) => { readonly labels: LabelValues; readonly took: Micros } | null;
  /** Label sets that exist at 0 from the beginning. */
  readonly initial?: readonly LabelValues[];
  /** Label sets that must exist at 0 once a build of these names can happen. */
  readonly offer?: (names: BuildNames, errorCodes: ReadonlySet<string>) => readonly LabelValues[];
  /** The label set that must exist at 0 once this agent waits for its first connection. */
  readonly expect?: (names: AgentNames) => LabelValues;
  /** What a stored series says of names that can be built and of error codes that exist. */
  readonly recall?: (labels: LabelValues) => {
    readonly names?: BuildNames;
    readonly errorCode?: string;
  };
}

/** A gauge of what is in flight: `count` of the waiting entities, or the `oldest` one's creation time. */
export interface PendingFamily extends Described {
  readonly type: "gauge";
  readonly value: "count" | "oldest";
  /** Label values of an entity that counts here; null for one that does not. */
  readonly of: (entity: Entity) => LabelValues | null;
  /** As for folded families. Only for `count`. */
  readonly offer?: (names: BuildNames) => readonly LabelValues[];
}

export type Family = FoldedFamily | PendingFamily;

export interface CatalogOptions {
  /** Labels of the first-connection histogram, in order. */
  readonly agentLabels: readonly AgentLabel[];
}

/** The labels that the first-connection histogram may carry, and where their values come from. */
export const AGENT_LABELS = ["template_name", "agent_name", "username", "workspace_name"] as const;
export type AgentLabel = (typeof AGENT_LABELS)[number];

/** Error codes that every label set is born with; codes seen later join them. */
export const BASE_ERROR_CODES = ["other", "user_canceled"] as const;

/** Durations beyond a hundred years are broken clocks or hand-written rows; they would drown every sum. */
const LONGEST_SAMPLE: Micros = 100 * 365 * 86_400 * SECOND;

const BUILD_LABELS = ["organization_name", "template_name", "preset_name"];
const CONNECTION_BUCKETS = [1, 10, 30, 60, 120, 300, 600, 1800, 3600];
const STATUSES = ["success", "failure", "canceled"];
const STAGES = ["queue", "provisioner"];

const buildLabels = (names: BuildNames): string[] => [
  names.organization,
  names.template,
  names.preset,
];

const AGENT_VALUE: Readonly<Record<AgentLabel, (names: AgentNames) => string>> = {
  template_name: (names) => names.template,
  agent_name: (names) => names.agent,
  username: (names) => names.username,
  workspace_name: (names) => names.workspace,
};

/** Why a connected agent's duration is not observed, or null when it is. Such agents are facts all the same. */
export function droppedBecause(took: Micros): "negative" | "out_of_range" | null {
  if (took < 0) return "negative";
  return took > LONGEST_SAMPLE ? "out_of_range" : null;
}

/** The families of this release, in the order in which they are exposed. */
export function createCatalog(options: CatalogOptions): readonly Family[] {
  const agentLabels = (names: AgentNames): string[] =>
    options.agentLabels.map((label) => AGENT_VALUE[label](names));
  return [
    {
      name: "workspace_creation_attempts_total",
      prefix: "coder",
      type: "counter",
      help: "First builds of workspaces (build number 1, transition start, not by the prebuilds user), counted when their row is committed. Attempts that fail before Coder commits the row are not visible.",
      labels: BUILD_LABELS,
      buckets: [],
      feeds: (fact) =>
        fact.kind === "attempted" ? { labels: buildLabels(fact.names), took: 0 } : null,
      offer: (names) => [buildLabels(names)],
      recall: ([organization = "", template = "", preset = ""]) => ({
        names: { organization, template, preset },
      }),
    },
    {
      name: "workspace_creation_outcomes_total",
      prefix: "coder",
      type: "counter",
      help: "First builds of workspaces by the first final state of their job: success, failure (also when a running build was canceled, and when the reaper ended it) or canceled.",
      labels: [...BUILD_LABELS, "status"],
      buckets: [],
      feeds: (fact) =>
        fact.kind === "ended"
          ? { labels: [...buildLabels(fact.names), fact.status], took: 0 }
          : null,
      offer: (names) => STATUSES.map((status) => [...buildLabels(names), status]),
    },
    {
      name: "workspace_creation_failures_total",
      prefix: "coder",
      type: "counter",
      help: "Failed first builds of workspaces by where they failed (queue: no provisioner had taken the job) and by Coder's error code, user_canceled, or other.",
      labels: [...BUILD_LABELS, "stage", "error_code"],
      buckets: [],
      feeds: (fact) =>
        fact.kind === "ended" && fact.status === "failure"
          ? { labels: [...buildLabels(fact.names), fact.stage, fact.errorCode], took: 0 }
          : null,
      offer: (names, errorCodes) =>
        STAGES.flatMap((stage) =>
          [...errorCodes].map((code) => [...buildLabels(names), stage, code]),
        ),
      recall: (labels) => ({ errorCode: labels[4] ?? "" }),
    },
    {
      name: "workspace_creations_in_flight",
      prefix: "coder",
      type: "gauge",
      value: "count",
      help: "First builds of workspaces whose job has not ended.",
      labels: BUILD_LABELS,
      of: (entity) => (entity.kind === "build" ? buildLabels(entity.names) : null),
      offer: (names) => [buildLabels(names)],
    },
    {
      name: "workspace_creation_oldest_in_flight_timestamp_seconds",
      prefix: "coder",
      type: "gauge",
      value: "oldest",
      help: "Creation time of the oldest first build whose job has not ended; absent while there is none.",
      labels: BUILD_LABELS,
      of: (entity) => (entity.kind === "build" ? buildLabels(entity.names) : null),
    },
    {
      name: "agents_first_connection_seconds",
      prefix: "coder",
      type: "histogram",
      help: "Seconds from agent creation (when the build completes) to its first connection to the control plane; one sample per agent row, so one per start; a claimed prebuild gives two.",
      labels: options.agentLabels,
      buckets: CONNECTION_BUCKETS,
      feeds: (fact) =>
        fact.kind === "connected" && droppedBecause(fact.took) === null
          ? { labels: agentLabels(fact.names), took: fact.took }
          : null,
      expect: agentLabels,
    },
    {
      name: "dropped_samples_total",
      prefix: "own",
      type: "counter",
      help: "First connections that were not observed, by reason: a negative duration (clock skew between coderd replicas) or one beyond a hundred years.",
      labels: ["reason"],
      buckets: [],
      feeds: (fact) => {
        const reason = fact.kind === "connected" ? droppedBecause(fact.took) : null;
        return reason === null ? null : { labels: [reason], took: 0 };
      },
      initial: [["negative"], ["out_of_range"]],
    },
  ];
}

/** The exposed name of a family. */
export function fullName(family: Family, prefix: string): string {
  return (family.prefix === "own" ? "firstlight_" : prefix) + family.name;
}
