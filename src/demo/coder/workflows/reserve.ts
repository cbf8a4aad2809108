// Finding something to work on: a workflow takes a workspace for itself while it builds, as Coder's own check does
// ("a build is already active"), and makes one when there is none of the kind it wants.

import { SECOND } from "../../../change/micros.ts";
import type { Uuid } from "../../../change/row.ts";
import { must } from "../../../errors.ts";
import { finish, insertBuild } from "../building.ts";
import { type BuildRequest } from "../drafts.ts";
import {
  isPrebuilt,
  stands,
  type Build,
  type Preset,
  type Template,
  type User,
  type Workspace,
} from "../model.ts";
import { moniker } from "../names.ts";
import type { Process } from "../timeline.ts";
import { insertWorkspace } from "../statements/builds.ts";
import type { World } from "../world.ts";

export interface CreateOptions {
  /** Default: any template. */
  readonly template?: Uuid;
  /** Default: anybody. */
  readonly owner?: Uuid;
  /** Default: the owner. An admin may create workspaces for others. */
  readonly initiator?: Uuid;
  /** A preset of the template's active version; null: none. Default: any or none. */
  readonly preset?: Uuid | null;
}

export interface WorkspaceOptions {
  /** Default: any that fits, else a new one. */
  readonly workspace?: Uuid;
}

/** A workspace that is ours until the end of the block. */
export interface Reserved extends Disposable {
  readonly workspace: Workspace;
}

/** Takes a workspace. Throws if another workflow has it. */
export function hold(workspace: Workspace): Reserved {
  if (workspace.busy) throw new Error("the workspace is already being built");
  workspace.busy = true;
  return {
    workspace,
    [Symbol.dispose]() {
      workspace.busy = false;
    },
  };
}

/** Takes a regular workspace that is running or stopped; starts a new one when there is none. */
export async function* reserve(
  world: World,
  kind: "running" | "stopped",
  options: WorkspaceOptions = {},
): Process<Reserved> {
  if (options.workspace !== undefined) return hold(workspaceOf(world, options.workspace));
  const fits = (workspace: Workspace): boolean =>
    !workspace.busy &&
    !workspace.deleted &&
    !isPrebuilt(workspace) &&
    stands(workspace, kind === "running" ? "start" : "stop");
  const candidates = [...world.workspaces.values()].filter(fits);
  if (candidates.length > 0) return hold(world.random.pick(candidates));
  const { workspace } = draftWorkspace(world);
  const reserved = hold(workspace);
  yield* finish(world, yield* insertFirstBuild(world, workspace));
  if (kind === "stopped") {
    yield 20 * SECOND;
    yield* finish(
      world,
      yield* insertBuild(world, { workspace, transition: "stop", initiator: workspace.owner.id }),
    );
  }
  return reserved;
}

/** A workspace that is not committed yet, and who asks for it with which preset. */
export function draftWorkspace(
  world: World,
  options: CreateOptions = {},
): { workspace: Workspace; initiator: Uuid; preset: Preset | null } {
  const template = templateOf(world, options.template);
  const owner = userOf(world, options.owner);
  const { presets } = template.version;
  const preset =
    options.preset === undefined
      ? world.random.pick([null, ...presets])
      : (presets.find(({ id }) => id === options.preset) ?? null);
  const initiator =
    options.initiator ?? (world.random.chance(0.1) ? world.random.pick(world.users).id : owner.id);
  return { workspace: newWorkspace(world, { template, owner }), initiator, preset };
}

/** A workspace that is not committed yet. */
export function newWorkspace(
  world: World,
  options: { readonly template: Template; readonly owner: User; readonly name?: string },
): Workspace {
  return {
    id: world.random.uuid(),
    template: options.template,
    owner: options.owner,
    name: options.name ?? moniker(world.random, world.serial()),
    deleted: false,
    builds: [],
    tokens: new Map(),
    busy: false,
    locked: false,
  };
}

/** Inserts workspace, job and build 1 in one transaction. */
export async function* insertFirstBuild(
  world: World,
  workspace: Workspace,
  request: Partial<Pick<BuildRequest, "initiator" | "preset" | "stage">> = {},
): Process<Build> {
  return yield* insertBuild(world, {
    initiator: workspace.owner.id,
    preset: null,
    ...request,
    workspace,
    transition: "start",
    before: (at) => [insertWorkspace(workspace, at)],
  });
}

export function workspaceOf(world: World, id: Uuid): Workspace {
  return must(world.workspaces.get(id), "no such workspace");
}

/** The template with this id, or any that is not deleted. */
export function templateOf(world: World, id?: Uuid): Template {
  const live = world.templates.filter((template) => !template.deleted);
  if (id === undefined) return world.random.pick(live);
  return must(
    live.find((template) => template.id === id),
    "no such template",
  );
}

/** The user with this id, or anybody. */
export function userOf(world: World, id?: Uuid): User {
  if (id === undefined) return world.random.pick(world.users);
  return must(
    world.users.find((user) => user.id === id),
    "no such user",
  );
}
