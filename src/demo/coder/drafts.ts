// Rows that are not committed yet, with the statements that will write them in Coder's order: builds, jobs, completions, agents.
// A transaction may still be rolled back or refused, so nothing here touches what the deployment knows.

import { SECOND, type Micros } from "../../change/micros.ts";
import type { Uuid } from "../../change/row.ts";
import {
  latest,
  type Agent,
  type Build,
  type Job,
  type Preset,
  type Stage,
  type Transition,
  type Workspace,
} from "./model.ts";
import { insertAgent, softDeleteAgents, softDeletePriorAgents } from "./statements/agents.ts";
import * as builds from "./statements/builds.ts";
import * as jobs from "./statements/jobs.ts";
import type { Sql } from "./sql.ts";
import type { World } from "./world.ts";

export const MINUTE: Micros = 60 * SECOND;
export const HOUR: Micros = 60 * MINUTE;

export interface BuildRequest {
  readonly workspace: Workspace;
  readonly transition: Transition;
  readonly initiator: Uuid;
  readonly reason?: string;
  /** Default: that of the previous build. */
  readonly preset?: Preset | null;
  readonly stage?: Stage;
  /** An orphan delete starts without a state. */
  readonly orphan?: boolean;
}

/** A build and its job that are not committed yet, with the INSERTs in Coder's order: the job first. */
export function draftBuild(
  world: World,
  request: BuildRequest,
  at: Micros,
): { build: Build; statements: Sql[] } {
  const { workspace, transition, initiator, stage = 0 } = request;
  const previous = latest(workspace);
  const version =
    transition === "start" || !previous ? workspace.template.version : previous.version;
  const inherited =
    version.presets.find((preset) => preset.name === previous?.preset?.name) ?? null;
  const id = world.random.uuid();
  const job = newJob(world, {
    type: "workspace_build",
    organization: workspace.template.organization,
    initiator,
    at,
  });
  const build: Build = {
    id,
    job,
    workspace,
    version,
    number: (previous?.number ?? 0) + 1,
    transition,
    initiator,
    reason: request.reason ?? "initiator",
    preset: request.preset === undefined ? inherited : request.preset,
    stage,
    createdAt: at,
    agents: [],
    state: request.orphan === true ? null : (previous?.state ?? null),
  };
  const input = {
    workspace_build_id: id,
    ...(stage === 0 ? {} : { prebuilt_workspace_stage: stage }),
    ...canaryInput(world),
  };
  return { build, statements: [jobs.insertJob(job, input), builds.insertBuild(build)] };
}

/** A pending job that is not committed yet. */
export function newJob(
  world: World,
  options: Pick<Job, "type" | "organization" | "initiator"> & { readonly at: Micros },
): Job {
  const { at, ...rest } = options;
  return {
    ...rest,
    id: world.random.uuid(),
    fileId: world.random.uuid(),
    createdAt: at,
    startedAt: null,
    worker: null,
    canceledAt: null,
    status: "pending",
  };
}

/** What import jobs hold in `input`, and with canaries every job. */
export function canaryInput(world: World): Readonly<Record<string, unknown>> {
  const secret = world.options.canaries?.input;
  return secret === undefined ? {} : { user_variable_values: [{ name: "token", value: secret }] };
}

/** What CompleteJob writes, in its order, and what will then exist. */
export function draftCompletion(
  world: World,
  build: Build,
  at: Micros,
): { statements: Sql[]; agents: Agent[]; state: Uint8Array } {
  const { workspace, job } = build;
  const { softDelete } = world.options;
  const state = newState(world);
  const resources = draftAgents(world, build, at);
  const deletes = build.transition === "delete";
  const statements = [
    ...(world.random.chance(0.2) ? [builds.nextStart(workspace, null)] : []),
    jobs.completeJob(job, { at, error: null }),
    builds.buildState(build, state, at),
    builds.buildDeadline(build, at + 8 * HOUR, at),
    ...resources.statements,
    ...(softDelete ? [softDeletePriorAgents(build)] : []),
    builds.buildFlags(build, at),
    ...(deletes ? [builds.deleteWorkspace(workspace)] : []),
    ...(deletes && softDelete ? [softDeleteAgents(workspace)] : []),
  ];
  return { statements, agents: resources.agents, state };
}

/** The resources and agents that a completion inserts: a volume, and a machine with the template's agents. */
export function draftAgents(
  world: World,
  build: Build,
  at: Micros,
): { statements: Sql[]; agents: Agent[] } {
  const { job, transition } = build;
  const statements = [
    builds.insertResource({
      id: world.random.uuid(),
      job,
      transition,
      type: "docker_volume",
      name: "home",
      createdAt: at,
    }),
  ];
  const born: Agent[] = [];
  if (transition !== "start" && world.options.agentsOn === "start")
    return { statements, agents: born };
  const resource = world.random.uuid();
  statements.push(
    builds.insertResource({
      id: resource,
      job,
      transition,
      type: "docker_container",
      name: "workspace",
      createdAt: at,
    }),
  );
  const add = (name: string, parent: Agent | null): Agent => {
    // Each INSERT reads the clock again.
    const createdAt = at + born.length * 137 + world.random.between(50, 900);
    const agent = newAgent(world, { build, resource, parent, name, createdAt });
    statements.push(agentInsertion(world, agent));
    born.push(agent);
    return agent;
  };
  for (const spec of build.version.agents) {
    const parent = add(spec.name, null);
    for (const name of spec.subAgents) add(name, parent);
  }
  return { statements, agents: born };
}

/** Seconds that templates give their agents, by the first digit of an agent's id: mostly the provider's default. */
const TIMEOUTS = [120, 120, 120, 120, 120, 120, 120, 120, 0, 0, 20, 30, 30, 60, 60, 600];

/** An agent that is not committed yet. */
export function newAgent(
  world: World,
  row: Pick<Agent, "build" | "resource" | "name" | "createdAt"> & { readonly parent: Agent | null },
): Agent {
  const id = world.random.uuid();
  return {
    ...row,
    id,
    timeout: (TIMEOUTS[Number.parseInt(id.slice(0, 1), 16)] ?? 120) * SECOND,
    parent: row.parent?.id ?? null,
    firstConnectedAt: null,
    lastConnectedAt: null,
    disconnectedAt: null,
    startedAt: null,
    readyAt: null,
    connected: false,
    off: false,
    logsLength: 0,
  };
}

/** Its INSERT, with a token and an environment that holds it. */
export function agentInsertion(world: World, agent: Agent): Sql {
  const { stage, workspace } = agent.build;
  const { tokens } = workspace;
  const kept = stage === 2 ? tokens.get(agent.name) : undefined;
  const token = world.options.canaries?.authToken ?? kept ?? world.random.uuid();
  tokens.set(agent.name, token);
  const environment = { CODER_AGENT_TOKEN: token };
  return insertAgent({ ...agent, token, environment });
}

/** Error text as Terraform leaves it; now and then too long to be stored inline, so that later UPDATEs omit it. */
export function errorText(world: World, reason = "terraform apply: exit status 1"): string {
  const details = world.random.chance(0.25) ? ` ${world.random.hex(9_000)}` : "";
  const secret = world.options.canaries?.error;
  return `${reason}${secret === undefined ? "" : ` ${secret}`}${details}`;
}

/** A Terraform state: usually small, sometimes too large to be stored inline. */
export function newState(world: World): Uint8Array {
  const secret = world.options.canaries?.provisionerState ?? "";
  return Buffer.from(
    `{"version":4,${secret}"${world.random.hex(world.random.chance(0.2) ? 6_000 : 200)}"}`,
  );
}
