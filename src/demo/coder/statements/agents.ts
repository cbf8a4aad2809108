// Coder's statements on workspace_agents (coderd/database/queries/workspaceagents.sql), one function each.

import { type Micros, SECOND } from "../../../change/micros.ts";
import type { Uuid } from "../../../change/row.ts";
import type { Agent, Build, Workspace } from "../model.ts";
import { insert, sql, time, update, type Sql } from "../sql.ts";

export interface NewAgent {
  readonly id: Uuid;
  readonly name: string;
  readonly resource: Uuid;
  readonly parent: Uuid | null;
  readonly createdAt: Micros;
  readonly timeout: Micros;
  /** A live credential. */
  readonly token: Uuid;
  readonly environment: Readonly<Record<string, string>>;
}

/** InsertWorkspaceAgent: of a workspace build, or of an import or dry-run job, where it never connects. */
export function insertAgent(agent: NewAgent): Sql {
  return insert("workspace_agents", {
    id: agent.id,
    created_at: time(agent.createdAt),
    updated_at: time(agent.createdAt),
    name: agent.name,
    resource_id: agent.resource,
    auth_token: agent.token,
    auth_instance_id: null,
    architecture: "amd64",
    environment_variables: JSON.stringify(agent.environment),
    operating_system: "linux",
    directory: agent.parent === null ? "/home/coder" : "/workspaces/app",
    connection_timeout_seconds: agent.timeout / SECOND,
    parent_id: agent.parent,
    api_key_scope: "all",
  });
}

/** UpdateWorkspaceAgentConnectionByID: connect, heartbeat and disconnect alike, always five columns, from memory. */
export function agentConnection(
  agent: Agent,
  connection: {
    readonly firstConnectedAt: Micros | null;
    readonly lastConnectedAt: Micros | null;
    readonly disconnectedAt: Micros | null;
    readonly replica: Uuid;
    readonly at: Micros;
  },
): Sql {
  return update("workspace_agents", agent.id, {
    first_connected_at: time(connection.firstConnectedAt),
    last_connected_at: time(connection.lastConnectedAt),
    last_connected_replica_id: connection.replica,
    disconnected_at: time(connection.disconnectedAt),
    updated_at: time(connection.at),
  });
}

/** UpdateWorkspaceAgentStartupByID. */
export function agentStartup(agent: Agent): Sql {
  return update("workspace_agents", agent.id, {
    version: "v2.36.0",
    expanded_directory: "/home/coder",
    subsystems: "{envbuilder}",
    api_version: "2.8",
  });
}

/** UpdateWorkspaceAgentLifecycleStateByID: the times are the agent's own; `updated_at` is left alone. */
export function agentLifecycle(
  agent: Agent,
  lifecycle: {
    readonly state: string;
    readonly startedAt: Micros | null;
    readonly readyAt: Micros | null;
  },
): Sql {
  return update("workspace_agents", agent.id, {
    lifecycle_state: lifecycle.state,
    started_at: time(lifecycle.startedAt),
    ready_at: time(lifecycle.readyAt),
  });
}

/** InsertWorkspaceAgentLogs: the part of it that touches the agent. */
export function agentLogs(agent: Agent): Sql {
  return update("workspace_agents", agent.id, { logs_length: agent.logsLength });
}

/** UpdateWorkspaceAgentDisplayAppsByID and UpdateWorkspaceAgentDirectoryByID: a declared sub-agent is refined later. */
export function refineSubAgent(agent: Agent): Sql {
  return update("workspace_agents", agent.id, {
    display_apps: "{vscode,web_terminal}",
    directory: "/workspaces/app/src",
  });
}

/** DeleteWorkspaceSubAgentByID: a soft delete. */
export function deleteSubAgent(agent: Agent): Sql {
  return sql`update workspace_agents set deleted = true
    where id = ${agent.id} and parent_id is not null and not deleted`;
}

/** SoftDeletePriorWorkspaceAgents: all agents of earlier builds, in the transaction that completes a newer one. */
export function softDeletePriorAgents(build: Build): Sql {
  return sql`update workspace_agents set deleted = true
    where not deleted and resource_id in (
      select workspace_resources.id
      from workspace_builds
      join workspace_resources on workspace_resources.job_id = workspace_builds.job_id
      where workspace_builds.workspace_id = ${build.workspace.id} and workspace_builds.build_number < ${build.number}
    )`;
}

/** SoftDeleteWorkspaceAgentsByWorkspaceID: with the workspace's own soft delete. */
export function softDeleteAgents(workspace: Workspace): Sql {
  return sql`update workspace_agents set deleted = true
    where not deleted and resource_id in (
      select workspace_resources.id
      from workspace_builds
      join workspace_resources on workspace_resources.job_id = workspace_builds.job_id
      where workspace_builds.workspace_id = ${workspace.id}
    )`;
}

/** Migration 000498: every agent that a newer build has made stale, in one statement. */
export function softDeleteStaleAgents(): Sql {
  return sql`update workspace_agents set deleted = true
    where not deleted and resource_id in (
      select workspace_resources.id
      from workspace_builds
      join workspace_resources on workspace_resources.job_id = workspace_builds.job_id
      where exists (
        select from workspace_builds newer
        where newer.workspace_id = workspace_builds.workspace_id and newer.build_number > workspace_builds.build_number
      )
    )`;
}
