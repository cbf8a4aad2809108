// What is there now: workspaces by the state of their latest build, and its agents.

import type { JobStatus } from "../../derive/state.ts";
import type { Family } from "../family.ts";

const STATUSES: readonly JobStatus[] = [
  "pending",
  "running",
  "succeeded",
  "canceling",
  "canceled",
  "failed",
];
const POLLED =
  "asked of whole tables once a minute by each replica, each of which shows all of it; emptied and filled again under the eyes of a scrape.";

export const PRESENT_FAMILIES: readonly Family[] = [
  {
    name: "api_workspace_latest_build",
    prefix: "coder",
    type: "gauge",
    value: "live",
    help: "Workspaces that are not deleted, by the status of the job of their latest build.",
    upstream: `coderd: ${POLLED} An alias with _total at the end went in 2.31.1.`,
    shown: "by default",
    labels: ["status"],
    initial: STATUSES.map((status) => [status]),
    of: ({ status }) => [status],
  },
  {
    name: "workspace_latest_build_status",
    prefix: "coder",
    type: "gauge",
    value: "live",
    help: "Workspaces that are not deleted, by the status and the transition of their latest build, with the names of when that was enqueued. A label set without workspaces is absent.",
    upstream: `coderd 2.10: ${POLLED} By the names of today.`,
    shown: "by default",
    labels: [
      "status",
      "template_name",
      "template_version",
      "workspace_owner",
      "workspace_transition",
    ],
    of: ({ status, names, workspace, traits }) => [
      status,
      names.template,
      names.version,
      workspace.owner,
      traits.transition,
    ],
  },
  {
    name: "agents_up",
    prefix: "coder",
    type: "gauge",
    value: "live",
    help: "Agents that are not deleted, of the latest builds of workspaces that are not deleted, whether they are connected or not; sub-agents count. A workspace without agents is absent. Names are those of when that build was enqueued.",
    upstream: `coderd: ${POLLED} By the names of today.`,
    shown: "by default",
    labels: ["username", "workspace_name", "template_name", "template_version"],
    of: ({ names, workspace }) => [workspace.owner, workspace.name, names.template, names.version],
    each: ({ agents, deleted }) => agents - deleted.length,
  },
];
