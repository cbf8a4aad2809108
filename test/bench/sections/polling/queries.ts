// What coderd asks its database each minute, on each replica, for the metrics of workspaces and agents: our own SQL, written from
// what the queries mean. Where a query can be written in several ways, the one that was cheapest here.

import { readFile } from "node:fs/promises";

export interface Query {
  readonly name: string;
  /** The metrics that it feeds. */
  readonly feeds: string;
  /** Whether Firstlight tells the same today. */
  readonly replaced: boolean;
  /** Columns with numbers; all others are labels. */
  readonly values: readonly string[];
  readonly labels: readonly string[];
  readonly text: string;
}

const QUERIES: readonly Omit<Query, "text">[] = [
  {
    name: "creation-total",
    feeds: "workspace_creation_total",
    replaced: true,
    labels: ["organization_name", "template_name", "preset_name"],
    values: ["value"],
  },
  {
    name: "agents",
    feeds: "agents_first_connection_seconds (v2.33), agents_up, agents_connections",
    replaced: true,
    labels: ["agent_id", "agent_name", "username", "workspace_name", "template_name"],
    values: ["value"],
  },
  {
    name: "latest-builds",
    feeds: "api_workspace_latest_build, workspace_latest_build_status",
    replaced: false,
    labels: ["workspace_id", "workspace_owner", "template_name", "template_version", "status"],
    values: ["value"],
  },
  {
    name: "prebuilds-made",
    feeds: "prebuilt_workspaces_created_total, _failed_total, _claimed_total",
    replaced: false,
    labels: ["template_name", "preset_name", "organization_name"],
    values: ["created", "failed", "claimed"],
  },
  {
    name: "prebuilds-running",
    feeds: "prebuilt_workspaces_running, _eligible",
    replaced: false,
    labels: ["template_name", "preset_name", "organization_name"],
    values: ["running", "eligible"],
  },
];

export async function readQueries(): Promise<readonly Query[]> {
  return Promise.all(
    QUERIES.map(async (query) => ({
      ...query,
      text: await readFile(new URL(`${query.name}.sql`, import.meta.url), "utf8"),
    })),
  );
}
