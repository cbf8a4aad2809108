// Agents and their first connection.

import type { AgentNames } from "../../derive/fact.ts";
import { type Family, one } from "../family.ts";
import { droppedBecause } from "./durations.ts";

/** The labels that the first-connection histogram may carry, and where their values come from. */
export const AGENT_LABELS = ["template_name", "agent_name", "username", "workspace_name"] as const;
export type AgentLabel = (typeof AGENT_LABELS)[number];

const VALUE: Readonly<Record<AgentLabel, (names: AgentNames) => string>> = {
  template_name: (names) => names.template,
  agent_name: (names) => names.agent,
  username: (names) => names.username,
  workspace_name: (names) => names.workspace,
};

const BUCKETS = [1, 10, 30, 60, 120, 300, 600, 1800, 3600];

/** Sub-agents are named by people, and often late: told apart by their names. */
const TIMEOUT_LABELS = ["organization_name", "template_name", "agent_name"];
const timeoutLabels = (names: AgentNames): string[] => [
  names.organization,
  names.template,
  names.agent,
];

export function agentFamilies(labels: readonly AgentLabel[]): readonly Family[] {
  const whose = [labels.indexOf("username"), labels.indexOf("workspace_name")] as const;
  const labelsOf = (names: AgentNames): string[] => labels.map((label) => VALUE[label](names));
  return [
    {
      name: "agents_first_connection_seconds",
      prefix: "coder",
      type: "histogram",
      help: "Seconds from agent creation (when the build completes) to its first connection to the control plane; one sample per agent row, so one per start; a claimed prebuild gives two.",
      upstream:
        "coderd 2.33: with all four labels, each replica observes every agent, and all live agents again after a restart. Since 2.34: template_name and agent_name, observed before the row is written, so a failed write observes again.",
      shown: "by default",
      labels,
      ...(whose.includes(-1) ? {} : { whose }),
      buckets: BUCKETS,
      feeds: (fact) =>
        fact.kind === "connected" && droppedBecause(fact.took) === null
          ? [{ labels: labelsOf(fact.names), took: fact.took }]
          : null,
      expect: labelsOf,
    },
    {
      name: "agents_connection_timeouts_total",
      prefix: "own",
      type: "counter",
      help: "Agents of builds that start a workspace that had not connected within their connection_timeout_seconds of creation, where that is not 0: one for each agent row, sub-agents too, also if it connected later, or if its workspace was stopped or deleted before. Counted with the late connection, else half a minute after the time was up.",
      shown: "by default",
      labels: TIMEOUT_LABELS,
      buckets: [],
      feeds: (fact) => (fact.kind === "overdue" ? one(timeoutLabels(fact.names)) : null),
      expect: timeoutLabels,
    },
  ];
}
