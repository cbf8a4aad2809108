// Prebuilt workspaces: the reconciler's pool, claims, and what an admin does to them (enterprise/coderd/prebuilds).

import { SECOND } from "../../../change/micros.ts";
import { PREBUILDS_USER, type Uuid } from "../../../change/row.ts";
import { must } from "../../../errors.ts";
import { admit, fail, finish, insertBuild, queueAndAcquire, work, workTime } from "../building.ts";
import { draftBuild } from "../drafts.ts";
import {
  isPrebuilt,
  stands,
  type Build,
  type Preset,
  type Template,
  type Workspace,
} from "../model.ts";
import { moniker } from "../names.ts";
import { softDeleteAgents } from "../statements/agents.ts";
import { claimWorkspace, deleteWorkspace } from "../statements/builds.ts";
import { cancelPrebuildJobs, completeUnstartedJob } from "../statements/jobs.ts";
import type { Process } from "../timeline.ts";
import type { World } from "../world.ts";
import {
  hold,
  insertFirstBuild,
  newWorkspace,
  userOf,
  workspaceOf,
  type Reserved,
  type WorkspaceOptions,
} from "./reserve.ts";
import { endOrphan } from "./transitions.ts";

export interface PoolOptions {
  /** How many workspaces the reconciler adds. Default: what the preset desires. */
  readonly count?: number;
}

export interface ClaimOptions extends WorkspaceOptions {
  /** Who claims it. Default: anybody. */
  readonly owner?: Uuid;
}

/** The reconciler fills a pool: one transaction per workspace, built side by side. */
export async function* fillPool(
  world: World,
  options: PoolOptions = {},
): Process<readonly Build[]> {
  const pool = anyPool(world);
  const builds: Build[] = [];
  for (let i = 0; i < (options.count ?? pool.preset.desired ?? 1); i += 1) {
    const build = yield* insertPrebuild(world, pool);
    builds.push(build);
    world.timeline.start(finishReserved(world, hold(build.workspace), build));
  }
  yield* world.timeline.until(() => builds.every((build) => build.job.status !== "pending"));
  return builds;
}

/** A prebuild whose first build fails. */
export async function* prebuildFails(world: World): Process<Build> {
  const build = yield* insertPrebuild(world);
  using _reserved = hold(build.workspace);
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, workTime(world));
  yield* fail(world, build);
  return build;
}

/** The pool shrinks: the reconciler deletes an unclaimed workspace. Its stage is 1, as if it were created. */
export async function* deletePrebuild(
  world: World,
  options: WorkspaceOptions = {},
): Process<Build> {
  using reserved = yield* reservePrebuild(world, options);
  const request = {
    workspace: reserved.workspace,
    transition: "delete",
    initiator: PREBUILDS_USER,
    stage: 1,
  } as const;
  return yield* finish(world, yield* insertBuild(world, request));
}

/** A new template version makes prebuilds stale that no provisioner has taken: canceled and orphaned in one transaction. */
export async function* cancelStalePrebuilds(world: World): Process<readonly Build[]> {
  const pool = anyPool(world);
  const pending: Build[] = [];
  for (let i = 0; i < 3; i += 1) pending.push(yield* insertPrebuild(world, pool));
  yield 20 * SECOND;
  const replica = world.replica();
  const at = replica.now();
  const jobs = pending.map((build) => build.job);
  const drafts = pending.map(({ workspace }) => {
    const request = {
      workspace,
      transition: "delete",
      initiator: PREBUILDS_USER,
      stage: 1,
      orphan: true,
    } as const;
    return draftBuild(world, request, at);
  });
  const statements = drafts.flatMap(({ build, statements: inserts }) => [
    ...inserts,
    completeUnstartedJob(build.job, { at, error: null }),
    deleteWorkspace(build.workspace),
    ...(world.options.softDelete ? [softDeleteAgents(build.workspace)] : []),
  ]);
  yield* world.transaction({
    replica,
    isolation: "repeatable read",
    statements: [cancelPrebuildJobs(jobs, at), ...statements],
    locks: pending.map((build) => build.workspace),
  });
  for (const build of pending) {
    Object.assign(build.job, { canceledAt: at, status: "canceled" });
    world.tally.ended(build.job, { build, at, failed: false, errorCode: null });
  }
  for (const { build } of drafts) endOrphan(world, build);
  return drafts.map((draft) => draft.build);
}

/** A user gets a workspace from the pool: same workspace, next build, fresh agent rows that connect once more. */
export async function* claim(world: World, options: ClaimOptions = {}): Process<Build> {
  using reserved = yield* reservePrebuild(world, options);
  return yield* finish(world, yield* insertClaim(world, reserved.workspace, options));
}

/** A claim whose build fails: the workspace is the user's all the same. */
export async function* claimFails(world: World, options: ClaimOptions = {}): Process<Build> {
  using reserved = yield* reservePrebuild(world, options);
  const build = yield* insertClaim(world, reserved.workspace, options);
  yield* queueAndAcquire(world, build.job);
  yield* work(world, build.job, workTime(world));
  yield* fail(world, build);
  return build;
}

/** An admin starts an unclaimed prebuild by hand, which looks like a claim and is none; then it is claimed. */
export async function* adminRestartsThenClaim(
  world: World,
  options: ClaimOptions = {},
): Process<Build> {
  using reserved = yield* reservePrebuild(world, options);
  const { workspace } = reserved;
  const admin = must(world.users[0], "no users");
  yield* finish(
    world,
    yield* insertBuild(world, { workspace, transition: "start", initiator: admin.id }),
  );
  yield 30 * SECOND;
  return yield* finish(world, yield* insertClaim(world, workspace, options));
}

/** UPDATE of the workspace, INSERT of job and build, in one transaction. */
export async function* insertClaim(
  world: World,
  workspace: Workspace,
  options: ClaimOptions,
): Process<Build> {
  const owner = userOf(world, options.owner);
  const name = moniker(world.random, world.serial());
  yield* world.unlocked(workspace);
  const replica = world.replica();
  const at = replica.now();
  const claimed = { workspace, transition: "start", initiator: owner.id, stage: 2 } as const;
  const { build, statements } = draftBuild(world, claimed, at);
  yield* world.transaction({
    replica,
    isolation: "repeatable read",
    statements: [claimWorkspace(workspace, { owner, name, at }), ...statements],
    locks: [workspace],
  });
  workspace.owner = owner;
  workspace.name = name;
  admit(world, build);
  return build;
}

/** The first build of an unclaimed workspace. */
export async function* insertPrebuild(world: World, pool = anyPool(world)): Process<Build> {
  const name = `prebuild-${world.random.hex(12)}`;
  const workspace = newWorkspace(world, { template: pool.template, owner: world.prebuilds, name });
  return yield* insertFirstBuild(world, workspace, { preset: pool.preset, stage: 1 });
}

/** Takes an unclaimed workspace that is running; makes one when there is none. */
async function* reservePrebuild(world: World, options: WorkspaceOptions): Process<Reserved> {
  if (options.workspace !== undefined) return hold(workspaceOf(world, options.workspace));
  const candidates = [...world.workspaces.values()].filter(isClaimable);
  if (candidates.length > 0) return hold(world.random.pick(candidates));
  const build = yield* insertPrebuild(world);
  const reserved = hold(build.workspace);
  yield* finish(world, build);
  yield 30 * SECOND;
  return reserved;
}

function isClaimable(workspace: Workspace): boolean {
  return (
    !workspace.busy && !workspace.deleted && isPrebuilt(workspace) && stands(workspace, "start")
  );
}

async function* finishReserved(world: World, reserved: Reserved, build: Build): Process {
  using _reserved = reserved;
  yield* finish(world, build);
}

/** A preset that Coder keeps prebuilt workspaces for. */
function anyPool(world: World): { template: Template; preset: Preset } {
  const pools = world.templates
    .filter((template) => !template.deleted)
    .flatMap((template) =>
      template.version.presets
        .filter((preset) => preset.desired !== null)
        .map((preset) => ({ template, preset })),
    );
  return world.random.pick(pools);
}
