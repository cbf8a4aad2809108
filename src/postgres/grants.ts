// What the follower's role may read: these columns and no others. `setup` grants it, `doctor` gives it back, `serve` asks for it.

import pg from "pg";
import { CODER_SCHEMA, PUBLISHED_COLUMNS } from "./publication.ts";

/** Every column that is read: from the three published tables in a snapshot, from the others by primary key. */
export const READ_COLUMNS: Readonly<Record<string, readonly string[]>> = {
  ...PUBLISHED_COLUMNS,
  // Never published; of its keys the stage alone is read, by primary key or inside a snapshot.
  provisioner_jobs: [...PUBLISHED_COLUMNS.provisioner_jobs, "input"],
  // Fixed once the agent is there, and not in the publication, whose lists are final.
  workspace_agents: [...PUBLISHED_COLUMNS.workspace_agents, "connection_timeout_seconds"],
  workspace_resources: ["id", "job_id"],
  workspaces: ["id", "owner_id", "organization_id", "template_id", "name", "deleted"],
  templates: ["id", "created_at", "organization_id", "deleted", "name", "active_version_id"],
  template_version_presets: ["id", "name", "template_version_id"],
  template_versions: ["id", "template_id", "job_id", "name"],
  organizations: ["id", "name"],
  users: ["id", "username"],
};

/** Lets a role (already quoted) read these columns and no others. */
export function grantSql(table: string, names: readonly string[], role: string): string {
  return `grant select (${names.join(", ")}) on ${pg.escapeIdentifier(CODER_SCHEMA)}.${table} to ${role};`;
}

/** All that a role (by its name) needs, a statement each. */
export function grants(role: string): string[] {
  const name = pg.escapeIdentifier(role);
  return [
    `grant usage on schema ${pg.escapeIdentifier(CODER_SCHEMA)} to ${name};`,
    ...Object.entries(READ_COLUMNS).map(([table, columns]) => grantSql(table, columns, name)),
  ];
}
