// The life of a workspace build and its job, step by step: a workflow strings these together (coderd/wsbuilder,
// coderd/provisionerdserver). One function is one step of Coder's, with Coder's transactions.

import { SECOND, type Micros } from "../../change/micros.ts";
import { closeOutdated, live } from "./connecting.ts";
import {
  HOUR,
  draftBuild,
  draftCompletion,
  errorText,
  newState,
  type BuildRequest,
} from "./drafts.ts";
import type { Agent, Build, Job } from "./model.ts";
import type { Replica } from "./replica.ts";
import * as builds from "./statements/builds.ts";
import * as jobs from "./statements/jobs.ts";
import type { Sql } from "./sql.ts";
import type { Process } from "./timeline.ts";
import type { World } from "./world.ts";

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
  request: BuildRequest & {
    readonly before?: (at: Micros) => readonly Sql[];
    readonly replica?: Replica;
  },
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
  for (
    let sent = 0;
    (world.endless || sent < world.heartbeats) && world.timeline.now + 5 * SECOND < end;
    sent += 1
  ) {
    yield 5 * SECOND;
    await replica.send([jobs.heartbeatJob(job, replica.now())]);
    if (world.random.chance(0.5))
      await replica.send([jobs.jobLogsLength(job, world.random.between(80, 4_000))]);
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
  await replica.send([
    jobs.completeJob(build.job, { at, error: errorText(world, options.error), errorCode }),
  ]);
  world.tally.ended(build.job, { build, at, failed: true, errorCode });
  build.job.status = "failed";
  if (!world.random.chance(0.5)) return;
  build.state = newState(world);
  const statements = [
    builds.buildState(build, build.state, at),
    builds.buildDeadline(build, at + HOUR, at),
  ];
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
  const end = pending
    ? jobs.completeUnstartedJob(job, { at, error })
    : jobs.completeJob(job, { at, error });
  const before = build.workspace.builds.at(-2)?.state ?? null;
  const keepState =
    build.state === null && before !== null ? [builds.buildState(build, before, at)] : [];
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
