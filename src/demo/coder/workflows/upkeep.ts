// What else touches the followed rows and the names they are looked up by: renames, deadlines, quotas, states, migrations.

import { SECOND } from "../../../change/micros.ts";
import type { Uuid } from "../../../change/row.ts";
import { must } from "../../../errors.ts";
import { HOUR, newState } from "../drafts.ts";
import { latest, type Build, type User, type Workspace } from "../model.ts";
import { moniker } from "../names.ts";
import { softDeleteStaleAgents } from "../statements/agents.ts";
import * as builds from "../statements/builds.ts";
import { renameUser as renameUserStatement } from "../statements/catalog.ts";
import { rewriteAllJobs } from "../statements/jobs.ts";
import type { Process } from "../timeline.ts";
import type { World } from "../world.ts";
import { reserve, userOf, type WorkspaceOptions } from "./reserve.ts";

export async function* renameWorkspace(
  world: World,
  options: WorkspaceOptions = {},
): Process<Workspace> {
  using reserved = yield* reserve(world, "running", options);
  const { workspace } = reserved;
  const name = moniker(world.random, world.serial());
  yield* world.unlocked(workspace);
  await world.replica().send([builds.renameWorkspace(workspace, name)]);
  workspace.name = name;
  return workspace;
}

export async function* renameUser(
  world: World,
  options: { readonly user?: Uuid } = {},
): Process<User> {
  const user = userOf(world, options.user);
  const username = `${user.username.slice(0, 20).replace(/-r\d+$/, "")}-r${world.serial()}`;
  const replica = world.replica();
  yield 0;
  await replica.send([renameUserStatement(user, username, replica.now())]);
  user.username = username;
  return user;
}

/** Somebody works in a workspace: its deadline moves, again and again. */
export async function* activityBump(world: World, options: WorkspaceOptions = {}): Process<Build> {
  using reserved = yield* reserve(world, "running", options);
  const build = must(latest(reserved.workspace), "a running workspace has a build");
  const replica = world.replica();
  for (let bump = 0; bump < 3; bump += 1) {
    yield 30 * SECOND;
    await replica.send([builds.bumpDeadline(build, replica.now() + HOUR, replica.now())]);
  }
  return build;
}

/** A template admin replaces a Terraform state. */
export async function* statePush(world: World, options: WorkspaceOptions = {}): Process<Build> {
  using reserved = yield* reserve(world, "running", options);
  const build = must(latest(reserved.workspace), "a running workspace has a build");
  const replica = world.replica();
  build.state = newState(world);
  await replica.send([builds.buildState(build, build.state, replica.now())]);
  return build;
}

/** An upgrade marks the agents of all earlier builds as deleted, in one UPDATE of very many rows. */
export async function* softDeleteBurst(world: World): Process {
  yield* world.alone();
  await world.replica().send([softDeleteStaleAgents()]);
}

/** An upgrade rewrites every job and every build, in one transaction. */
export async function* rewriteBurst(world: World): Process {
  yield* world.alone();
  await world
    .replica()
    .send([{ text: "begin" }, rewriteAllJobs(), builds.rewriteAllBuilds(), { text: "commit" }]);
}
