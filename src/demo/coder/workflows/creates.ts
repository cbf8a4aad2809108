// First builds of regular workspaces, with every ending Coder knows (coderd/workspaces.go, provisionerdserver, jobreaper).
// Each workflow returns its build; agents go on living after it.

import { SECOND, type Micros } from "../../../change/micros.ts";
import {
  admit,
  cancel,
  complete,
  fail,
  finish,
  insertBuild,
  queueAndAcquire,
  reap,
  work,
  workTime,
} from "../building.ts";
import { MINUTE, draftBuild, draftCompletion, errorText } from "../drafts.ts";
import { live } from "../connecting.ts";
import type { Build } from "../model.ts";
import { insertWorkspace } from "../statements/builds.ts";
import { completeJob } from "../statements/jobs.ts";
import { sql } from "../sql.ts";
import type { Process } from "../timeline.ts";
import type { World } from "../world.ts";
import {
  draftWorkspace,
  hold,
  insertFirstBuild,
  newWorkspace,
  type CreateOptions,
} from "./reserve.ts";

const UNIQUE_VIOLATION = "23505";

/** How long the reaper lets a job wait for a provisioner, and a runner be silent. */
const PENDING_LIMIT: Micros = 30 * MINUTE;
const HUNG_LIMIT: Micros = 5 * MINUTE;

type Ending = (world: World, build: Build) => Process<unknown>;

/** A workflow: a first build, and what becomes of it. */
function firstBuild(ending: Ending) {
  return async function* (world: World, options: CreateOptions = {}): Process<Build> {
    const { workspace, ...request } = draftWorkspace(world, options);
    using _reserved = hold(workspace);
    const build = yield* insertFirstBuild(world, workspace, request);
    yield* ending(world, build);
    return build;
  };
}

/** Queued, built, its agents connect. */
export const createRegular = firstBuild(finish);

/** Terraform fails. */
export const createFails = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, workTime(world));
  yield* fail(world, build);
});

/** Fails with one of the codes that Coder gives to failures it understands. */
export const createFailsWithCode = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, 3 * SECOND);
  yield* fail(world, build, {
    error: "missing variable",
    errorCode: world.random.pick(["REQUIRED_TEMPLATE_VARIABLES", "INSUFFICIENT_QUOTA"]),
  });
});

/** A failed first build, then a second build that succeeds. */
export const createFailsThenStarts = firstBuild(async function* (world, first) {
  yield* queueAndAcquire(world, first.job);
  yield* work(world, first.job, workTime(world));
  yield* fail(world, first);
  yield 20 * SECOND;
  const { workspace, initiator } = first;
  yield* finish(
    world,
    yield* insertBuild(world, { workspace, transition: "start", initiator, reason: "dashboard" }),
  );
});

/** Acquired, but the payload can not be built: failAcquiredJob. */
export const acquireFails = firstBuild(async function* (world, build) {
  const { job } = build;
  yield* queueAndAcquire(world, job);
  yield 0.02 * SECOND;
  const replica = world.replica();
  const at = replica.now();
  await replica.send([
    completeJob(job, { at, error: errorText(world, "acquire job: get owner: no rows") }),
  ]);
  job.status = "failed";
  world.tally.ended(job, { build, at, failed: true, errorCode: null });
});

/** Canceled while it waits: canceled. */
export const cancelPending = firstBuild(async function* (world, build) {
  yield world.random.between(SECOND, 20 * SECOND);
  yield* cancel(world, build);
});

/** Canceled while Terraform runs: the runner stops it and reports a failure. */
export const cancelRunning = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, workTime(world));
  yield* cancel(world, build);
  yield world.random.between(0.1 * SECOND, 5 * SECOND);
  yield* fail(world, build, { error: "canceled" });
});

/** Canceled too late: it was built all the same, and Coder calls it canceled. */
export const cancelRunningButBuilt = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, workTime(world));
  yield* cancel(world, build);
  yield world.random.between(0.1 * SECOND, 3 * SECOND);
  for (const agent of yield* complete(world, build)) world.timeline.start(live(world, agent));
});

/** Canceled, but the runner is gone: the reaper fails it. */
export const cancelRunningThenReaped = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield 2 * SECOND;
  yield* cancel(world, build);
  yield HUNG_LIMIT + world.random.between(0, MINUTE);
  yield* reap(world, build);
});

/** No provisioner takes it. */
export const reapPending = firstBuild(async function* (world, build) {
  yield PENDING_LIMIT + world.random.between(0, MINUTE);
  yield* reap(world, build);
});

/** The provisioner dies. */
export const reapHung = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, 10 * SECOND);
  yield HUNG_LIMIT + world.random.between(0, MINUTE);
  yield* reap(world, build);
});

/** Divergent: failed by the reaper, then completed after all, because CompleteJob does not check. */
export const reapedThenCompletes = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield HUNG_LIMIT + world.random.between(0, MINUTE);
  yield* reap(world, build);
  yield world.random.between(SECOND, 60 * SECOND);
  const agents = yield* complete(world, build);
  world.tally.diverged({ kind: "ended", id: build.job.id, why: "reaped_then_completed" });
  for (const agent of agents) world.timeline.start(live(world, agent));
});

/** Divergent: the reply to CompleteJob was lost and it is sent again; without agents nothing refuses it. */
export async function* completesTwice(world: World, options: CreateOptions = {}): Process<Build> {
  const bare = world.templates.find(
    (template) => !template.deleted && template.version.agents.length === 0,
  );
  const template = options.template ?? bare?.id;
  return yield* completesTwiceEnding(world, {
    ...options,
    ...(template === undefined ? {} : { template }),
  });
}

const completesTwiceEnding = firstBuild(async function* (world, build) {
  if (build.version.agents.length > 0)
    throw new Error("with agents the second completion is refused");
  yield* finish(world, build);
  yield world.random.between(0.05 * SECOND, 2 * SECOND);
  yield* complete(world, build);
  world.tally.diverged({ kind: "ended", id: build.job.id, why: "completed_twice" });
});

/** CompleteJob is sent again for a build with agents: the second transaction dies on their names and changes nothing. */
export async function* secondCompletionRefused(
  world: World,
  options: CreateOptions = {},
): Process<Build> {
  const withAgents = world.templates.filter(
    ({ deleted, version }) => !deleted && version.agents.length > 0,
  );
  const template = options.template ?? world.random.pick(withAgents).id;
  return yield* secondCompletionRefusedEnding(world, { ...options, template });
}

const secondCompletionRefusedEnding = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, workTime(world));
  const agents = yield* complete(world, build);
  yield world.random.between(0.05 * SECOND, SECOND);
  yield* world.unlocked(build.workspace);
  const replica = world.replica();
  const again = draftCompletion(world, build, replica.now());
  await replica.refused([sql`begin`, ...again.statements, sql`commit`], UNIQUE_VIOLATION);
  for (const agent of agents) world.timeline.start(live(world, agent));
});

/** The first try is rolled back (a lost serialization race, a refused quota); only the second try ever existed. */
export async function* rolledBackThenCreated(
  world: World,
  options: CreateOptions = {},
): Process<Build> {
  const { workspace: lost, ...request } = draftWorkspace(world, options);
  const replica = world.replica();
  const at = replica.now();
  const draft = draftBuild(world, { ...request, workspace: lost, transition: "start" }, at);
  const statements = [insertWorkspace(lost, at), ...draft.statements];
  yield* world.transaction({ replica, isolation: "repeatable read", statements, ends: "rollback" });
  yield 0.05 * SECOND;
  const workspace = newWorkspace(world, lost);
  using _reserved = hold(workspace);
  return yield* finish(world, yield* insertFirstBuild(world, workspace, request));
}

/** Within one transaction a build is undone by a savepoint and inserted again. Coder uses none today; a fork might. */
export async function* createdAfterSavepoint(
  world: World,
  options: CreateOptions = {},
): Process<Build> {
  const { workspace, ...request } = draftWorkspace(world, options);
  using _reserved = hold(workspace);
  const replica = world.replica();
  const at = replica.now();
  const lost = draftBuild(world, { ...request, workspace, transition: "start" }, at);
  const kept = draftBuild(world, { ...request, workspace, transition: "start" }, at);
  const statements = [
    insertWorkspace(workspace, at),
    sql`savepoint attempt`,
    ...lost.statements,
    sql`rollback to savepoint attempt`,
    ...kept.statements,
    sql`release savepoint attempt`,
  ];
  yield* world.transaction({ replica, statements });
  admit(world, kept.build);
  return yield* finish(world, kept.build);
}

/** Stays in flight: nobody ever takes it. */
export const staysPending = firstBuild(async function* () {
  yield 0;
});

/** Stays in flight: taken, and still running when the story ends. */
export const staysRunning = firstBuild(async function* (world, build) {
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, 20 * SECOND);
});
