// The life of a workspace build and its job, step by step: a workflow strings these together (coderd/wsbuilder,
// coderd/provisionerdserver). One function is one step of Coder's, with Coder's transactions.

import { SECOND, type Micros } from "../../change/micros.ts";
import type { Uuid } from "../../change/row.ts";
import { closeOutdated, draftAgents, live } from "./connecting.ts";
import { latest, type Agent, type Build, type Job, type Preset, type Stage, type Transition, type Workspace } from "./model.ts";
import type { Replica } from "./replica.ts";
import { softDeleteAgents, softDeletePriorAgents } from "./statements/agents.ts";
import * as builds from "./statements/builds.ts";
import * as jobs from "./statements/jobs.ts";
import type { Sql } from "./sql.ts";
import type { Process } from "./timeline.ts";
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
export function draftBuild(world: World, request: BuildRequest, at: Micros): { build: Build; statements: Sql[] } {
  const { workspace, transition, initiator, stage = 0 } = request;
  const previous = latest(workspace);
  const version = transition === "start" || !previous ? workspace.template.version : previous.version;
  const inherited = version.presets.find((preset) => preset.name === previous?.preset?.name) ?? null;
  const id = world.random.uuid();
  const job = newJob(world, { type: "workspace_build", organization: workspace.template.organization, initiator, at });
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
    logsLength: 0,
  };
}

/** What import jobs hold in `input`, and with canaries every job. */
export function canaryInput(world: World): Readonly<Record<string, unknown>> {
  const secret = world.options.canaries?.input;
  return secret === undefined ? {} : { user_variable_values: [{ name: "token", value: secret }] };
}

/** Takes note of a build whose transaction has committed. */
export function admit(world: World, build: Build): void {
  const { workspace } = build;
  for (const agent of workspace.builds.flatMap((earlier) => earlier.agents)) {
    if (agent.connected) world.timeline.start(closeOutdated(world, agent));
  }
  workspace.builds.push(build);
  world.workspaces.set(workspace.id, workspace);
  world.tally.inserted(build);
}

/** Inserts job and build in one transaction, after what the caller has to write first. */
export async function* insertBuild(
  world: World,
  request: BuildRequest & { readonly before?: (at: Micros) => readonly Sql[]; readonly replica?: Replica },
): Process<Build> {
  const replica = request.replica ?? world.replica();
  yield* world.unlocked(request.workspace);
  const at = replica.now();
  const { build, statements } = draftBuild(world, request, at);
  yield* world.transaction({
    replica,
    isolation: "repeatable read",
    statements: [...(request.before?.(at) ?? []), ...statements],
    locks: [request.workspace],
  });
  admit(world, build);
  return build;
}

/** A provisioner daemon takes the job. */
export async function acquire(world: World, job: Job): Promise<void> {
  const replica = world.replica();
  const at = replica.now();
  const worker = world.random.pick(world.workers);
  await replica.send([jobs.acquireJob(job, { at, worker })]);
  Object.assign(job, { startedAt: at, worker, status: "running" });
}

/** The runner works: a heartbeat every 5 s, or log flushes, each of them two transactions. */
export async function* work(world: World, job: Job, duration: Micros): Process {
  const end = world.timeline.now + duration;
  const replica = world.replica();
  for (let sent = 0; (world.endless || sent < world.heartbeats) && world.timeline.now + 5 * SECOND < end; sent += 1) {
    yield 5 * SECOND;
    await replica.send([jobs.heartbeatJob(job, replica.now())]);
    if (world.random.chance(0.5)) await replica.send([jobs.jobLogsLength(job, world.random.between(80, 4_000))]);
  }
  yield Math.max(0, end - world.timeline.now);
}

/** Waits in the queue, then is acquired. */
export async function* queueAndAcquire(world: World, job: Job): Process {
  yield world.random.between(0.2 * SECOND, 6 * SECOND);
  await acquire(world, job);
}

/** How long Terraform takes. */
export function workTime(world: World): Micros {
  return world.random.between(6 * SECOND, 70 * SECOND);
}

/** CompleteJob's one transaction. The new agents have not connected; `live` lets them. */
export async function* complete(world: World, build: Build): Process<readonly Agent[]> {
  yield* world.unlocked(build.workspace);
  const replica = world.replica();
  const at = replica.now();
  const draft = draftCompletion(world, build, at);
  yield* world.transaction({ replica, statements: draft.statements, locks: [build.workspace] });
  world.tally.ended(build.job, { build, at, failed: false, errorCode: null });
  build.job.status = build.job.canceledAt === null ? "succeeded" : "canceled";
  build.state = draft.state;
  build.agents.push(...draft.agents);
  for (const agent of draft.agents) world.tally.born(agent);
  if (build.transition === "delete") build.workspace.deleted = true;
  return draft.agents;
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

/** FailJob: the job on its own, then, if the runner sent one, the state in a transaction of its own. */
export async function* fail(
  world: World,
  build: Build,
  options: { readonly error?: string; readonly errorCode?: string } = {},
): Process {
  const replica = world.replica();
  const at = replica.now();
  const { errorCode = null } = options;
  yield* world.unlocked(build.workspace);
  await replica.send([jobs.completeJob(build.job, { at, error: errorText(world, options.error), errorCode })]);
  world.tally.ended(build.job, { build, at, failed: true, errorCode });
  build.job.status = "failed";
  if (!world.random.chance(0.5)) return;
  build.state = newState(world);
  const statements = [builds.buildState(build, build.state, at), builds.buildDeadline(build, at + HOUR, at)];
  yield* world.transaction({ replica, statements, locks: [build.workspace] });
}

/** Somebody cancels: a pending job ends at once, a running one is only asked to. */
export async function* cancel(world: World, build: Build): Process {
  const { job } = build;
  yield* world.unlocked(build.workspace);
  const replica = world.replica();
  const at = replica.now();
  const completed = job.worker === null;
  await replica.send([jobs.cancelJob(job, { at, completed })]);
  job.canceledAt = at;
  job.status = completed ? "canceled" : "canceling";
  if (completed) world.tally.ended(job, { build, at, failed: false, errorCode: null });
}

/** The reaper fails a job that was never taken, or whose runner went silent. */
export async function* reap(world: World, build: Build): Process {
  const { job } = build;
  const replica = world.replica();
  const at = replica.now();
  const pending = job.startedAt === null;
  const error = errorText(world, "Build has been detected as hung and has been terminated.");
  const end = pending ? jobs.completeUnstartedJob(job, { at, error }) : jobs.completeJob(job, { at, error });
  const before = build.workspace.builds.at(-2)?.state ?? null;
  const keepState = build.state === null && before !== null ? [builds.buildState(build, before, at)] : [];
  yield* world.transaction({ replica, statements: [end, ...keepState], locks: [build.workspace] });
  if (pending) job.startedAt = at;
  job.status = "failed";
  world.tally.ended(job, { build, at, failed: true, errorCode: null });
}

/** From the queue to connected agents: the ordinary course of a build. */
export async function* finish(world: World, build: Build): Process<Build> {
  yield* queueAndAcquire(world, build.job);
  if (world.random.chance(0.3)) {
    yield SECOND;
    await world.replica().send([builds.buildCost(build, world.random.between(1, 40))]);
  }
  yield* work(world, build.job, workTime(world));
  for (const agent of yield* complete(world, build)) world.timeline.start(live(world, agent));
  return build;
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
  return Buffer.from(`{"version":4,${secret}"${world.random.hex(world.random.chance(0.2) ? 6_000 : 200)}"}`);
}
