// What the simulated deployment knows about itself: the rows it has committed, as linked objects. Workflows decide by it and
// never by reading the database, so the plan of a seed does not depend on the server.

import type { Micros } from "../../change/micros.ts";
import { PREBUILDS_USER, type Uuid } from "../../change/row.ts";

export interface Organization {
  readonly id: Uuid;
  readonly name: string;
}

export interface User {
  readonly id: Uuid;
  username: string;
}

/** What a template declares: an agent and its devcontainer sub-agents. */
export interface AgentSpec {
  readonly name: string;
  readonly subAgents: readonly string[];
}

export interface Preset {
  readonly id: Uuid;
  readonly name: string;
  /** How many prebuilt workspaces Coder keeps ready; null: none. */
  readonly desired: number | null;
}

export interface Version {
  readonly id: Uuid;
  readonly name: string;
  readonly presets: readonly Preset[];
  readonly agents: readonly AgentSpec[];
}

export interface Template {
  readonly id: Uuid;
  readonly organization: Organization;
  name: string;
  version: Version;
  deleted: boolean;
}

export interface Workspace {
  readonly id: Uuid;
  readonly template: Template;
  owner: User;
  name: string;
  deleted: boolean;
  readonly builds: Build[];
  /** Agent tokens by agent name: a claim keeps those of the prebuilt workspace's first build. */
  readonly tokens: Map<string, Uuid>;
  /** A workflow works on it. Coder, too, builds a workspace serially. */
  busy: boolean;
  /** An open transaction has touched its rows; other writers wait, as they would for the row locks. */
  locked: boolean;
}

export type JobType = "workspace_build" | "template_version_import" | "template_version_dry_run";

export interface Job {
  readonly id: Uuid;
  readonly type: JobType;
  readonly organization: Organization;
  readonly initiator: Uuid;
  readonly fileId: Uuid;
  readonly createdAt: Micros;
  startedAt: Micros | null;
  worker: Uuid | null;
  canceledAt: Micros | null;
  status: "pending" | "running" | "canceling" | "succeeded" | "failed" | "canceled";
}

export type Transition = "start" | "stop" | "delete";

/** Coder's `prebuilt_workspace_stage`: 0 none (the key is absent), 1 what the reconciler builds, 2 a claim. */
export type Stage = 0 | 1 | 2;

export interface Build {
  readonly id: Uuid;
  readonly job: Job;
  readonly workspace: Workspace;
  readonly version: Version;
  readonly number: number;
  readonly transition: Transition;
  readonly initiator: Uuid;
  readonly reason: string;
  readonly preset: Preset | null;
  readonly stage: Stage;
  readonly createdAt: Micros;
  readonly agents: Agent[];
  /** The Terraform state; a new build starts with a copy of its predecessor's. */
  state: Uint8Array | null;
}

export interface Agent {
  readonly id: Uuid;
  readonly build: Build;
  readonly resource: Uuid;
  readonly parent: Uuid | null;
  readonly name: string;
  readonly createdAt: Micros;
  /** How long it may take to connect; 0: any time. */
  readonly timeout: Micros;
  /** What coderd keeps in memory for the connection and writes again with every heartbeat. */
  firstConnectedAt: Micros | null;
  lastConnectedAt: Micros | null;
  disconnectedAt: Micros | null;
  startedAt: Micros | null;
  readyAt: Micros | null;
  connected: boolean;
  /** Its process has ended with its workspace. */
  off: boolean;
  logsLength: number;
}

/** The newest build; undefined before the first one has been committed. */
export function latest(workspace: Workspace): Build | undefined {
  return workspace.builds.at(-1);
}

export function isPrebuilt(workspace: Workspace): boolean {
  return workspace.owner.id === PREBUILDS_USER;
}

/** Whether the newest build has this transition and was built. */
export function stands(workspace: Workspace, transition: Transition): boolean {
  const build = latest(workspace);
  return (
    build?.transition === transition &&
    (build.job.status === "succeeded" || build.job.status === "canceled")
  );
}
