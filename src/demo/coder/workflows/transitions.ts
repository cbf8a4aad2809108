// Later builds of regular workspaces: stop, start, restart, delete, by API and by the lifecycle executor
// (coderd/workspacebuilds.go, coderd/autobuild, coderd/wsbuilder). Each workflow returns its last build.

import { SECOND } from "../../../change/micros.ts";
import { admit, fail, finish, insertBuild, queueAndAcquire, work, workTime } from "../building.ts";
import { draftBuild, type BuildRequest } from "../drafts.ts";
import { isPrebuilt, latest, type Build, type Workspace } from "../model.ts";
import { softDeleteAgents } from "../statements/agents.ts";
import { deleteWorkspace as markDeleted, wakeWorkspace } from "../statements/builds.ts";
import { completeUnstartedJob } from "../statements/jobs.ts";
import type { Process } from "../timeline.ts";
import type { World } from "../world.ts";
import { hold, reserve, type WorkspaceOptions } from "./reserve.ts";

type Kind = "running" | "stopped";
type Request = Pick<BuildRequest, "transition"> & { readonly reasons: readonly string[] };

const BY_HAND = ["initiator", "dashboard", "cli"] as const;
const BY_CONNECTION = [
  ...BY_HAND,
  "ssh_connection",
  "vscode_connection",
  "jetbrains_connection",
] as const;

/** A workflow: one more build of a workspace of this kind. */
function laterBuild(kind: Kind, request: Request) {
  return async function* (world: World, options: WorkspaceOptions = {}): Process<Build> {
    using reserved = yield* reserve(world, kind, options);
    return yield* finish(world, yield* insertLater(world, reserved.workspace, request));
  };
}

export const stop = laterBuild("running", { transition: "stop", reasons: BY_HAND });
export const start = laterBuild("stopped", { transition: "start", reasons: BY_CONNECTION });
/** Also a rebuild of a running workspace: the agents change without a stop in between. */
export const update = laterBuild("running", { transition: "start", reasons: BY_HAND });
export const remove = laterBuild("stopped", { transition: "delete", reasons: BY_HAND });
export const removeRunning = laterBuild("running", { transition: "delete", reasons: BY_HAND });
export const autostart = laterBuild("stopped", { transition: "start", reasons: ["autostart"] });
export const autostop = laterBuild("running", {
  transition: "stop",
  reasons: ["autostop", "dormancy", "failedstop"],
});
export const autodelete = laterBuild("stopped", { transition: "delete", reasons: ["autodelete"] });

/** Stop, then start: the follow-up build has the initiator of the first. */
export async function* restart(world: World, options: WorkspaceOptions = {}): Process<Build> {
  using reserved = yield* reserve(world, "running", options);
  const { workspace } = reserved;
  const stopped = yield* insertLater(world, workspace, {
    transition: "stop",
    reasons: ["dashboard"],
  });
  yield* finish(world, stopped);
  yield SECOND;
  const { initiator } = stopped;
  return yield* finish(
    world,
    yield* insertBuild(world, { workspace, transition: "start", initiator, reason: "dashboard" }),
  );
}

/** A start of a dormant workspace writes the workspace first, in the same transaction. */
export async function* startDormant(world: World, options: WorkspaceOptions = {}): Process<Build> {
  using reserved = yield* reserve(world, "stopped", options);
  const { workspace } = reserved;
  const build = yield* insertBuild(world, {
    workspace,
    transition: "start",
    initiator: workspace.owner.id,
    before: (at) => [wakeWorkspace(workspace, at)],
  });
  return yield* finish(world, build);
}

/** A stop that fails, and one that succeeds. */
export async function* stopFailsThenStops(
  world: World,
  options: WorkspaceOptions = {},
): Process<Build> {
  using reserved = yield* reserve(world, "running", options);
  const { workspace } = reserved;
  const failed = yield* insertLater(world, workspace, { transition: "stop", reasons: BY_HAND });
  yield* queueAndAcquire(world, failed.job);
  yield* work(world, failed.job, workTime(world));
  yield* fail(world, failed);
  yield 30 * SECOND;
  return yield* finish(
    world,
    yield* insertLater(world, workspace, { transition: "stop", reasons: BY_HAND }),
  );
}

/** Orphan delete without a live provisioner: one transaction inserts the build, ends its job and deletes everything. */
export async function* orphanDelete(world: World, options: WorkspaceOptions = {}): Process<Build> {
  using reserved = yield* reserve(world, "stopped", options);
  const { workspace } = reserved;
  const replica = world.replica();
  yield* world.unlocked(workspace);
  const at = replica.now();
  const request = {
    workspace,
    transition: "delete",
    initiator: workspace.owner.id,
    orphan: true,
  } as const;
  const { build, statements } = draftBuild(world, request, at);
  yield* world.transaction({
    replica,
    isolation: "repeatable read",
    statements: [
      ...statements,
      completeUnstartedJob(build.job, { at, error: null }),
      markDeleted(workspace),
      ...(world.options.softDelete ? [softDeleteAgents(workspace)] : []),
    ],
    locks: [workspace],
  });
  endOrphan(world, build);
  return build;
}

/** Deletes the workspace that has existed longest, whatever became of it; an unclaimed prebuild as the reconciler does. */
export async function* removeOldest(world: World): Process {
  const oldest = world.workspaces.values().find(isIdle);
  if (!oldest) return;
  using _reserved = hold(oldest);
  const stage = isPrebuilt(oldest) ? 1 : 0;
  const request = {
    workspace: oldest,
    transition: "delete",
    initiator: oldest.owner.id,
    stage,
  } as const;
  yield* finish(world, yield* insertBuild(world, request));
}

/** Whether a build could be started now. */
function isIdle(workspace: Workspace): boolean {
  const status = latest(workspace)?.job.status;
  const ended = status === "succeeded" || status === "failed" || status === "canceled";
  return ended && !workspace.busy && !workspace.deleted;
}

/** Takes note of a build whose job was born completed. */
export function endOrphan(world: World, build: Build): void {
  admit(world, build);
  build.job.startedAt = build.createdAt;
  build.job.status = "succeeded";
  build.workspace.deleted = true;
  world.tally.ended(build.job, { build, at: build.createdAt, failed: false, errorCode: null });
}

/** Executor builds are initiated by the owner and told apart by their reason alone; people also build for others. */
async function* insertLater(world: World, workspace: Workspace, request: Request): Process<Build> {
  const { random } = world;
  const byHand = request.reasons.includes("cli");
  const initiator =
    byHand && random.chance(0.15) ? random.pick(world.users).id : workspace.owner.id;
  const reason = random.pick(request.reasons);
  return yield* insertBuild(world, {
    workspace,
    transition: request.transition,
    initiator,
    reason,
  });
}
