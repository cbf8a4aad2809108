// Single steps for tests that stop between them: what the workflows are made of, with the same statements.

import type { Uuid } from "../../change/row.ts";
import * as building from "./building.ts";
import * as connecting from "./connecting.ts";
import type { Agent, Build, Template, Transition } from "./model.ts";
import type { Process } from "./timeline.ts";
import { connectsMany } from "./workflows/agents.ts";
import { insertClaim, insertPrebuild, type ClaimOptions } from "./workflows/prebuilds.ts";
import {
  draftWorkspace,
  insertFirstBuild,
  workspaceOf,
  type CreateOptions,
} from "./workflows/reserve.ts";
import { markDeleted } from "./workflows/templates.ts";
import type { World } from "./world.ts";

export const STEPS = {
  /** Workspace, job and build 1; the job is pending. */
  async *firstBuild(world: World, options: CreateOptions = {}): Process<Build> {
    const { workspace, ...request } = draftWorkspace(world, options);
    return yield* insertFirstBuild(world, workspace, request);
  },

  /** Job and build of an existing workspace. */
  async *laterBuild(
    world: World,
    options: {
      readonly workspace: Uuid;
      readonly transition: Transition;
      readonly reason?: string;
    },
  ): Process<Build> {
    const workspace = workspaceOf(world, options.workspace);
    return yield* building.insertBuild(world, {
      initiator: workspace.owner.id,
      ...options,
      workspace,
    });
  },

  /** Build 1 of a prebuilt workspace. */
  async *prebuild(world: World): Process<Build> {
    return yield* insertPrebuild(world);
  },

  /** The claim of this prebuilt workspace. */
  async *claim(world: World, options: ClaimOptions & { readonly workspace: Uuid }): Process<Build> {
    return yield* insertClaim(world, workspaceOf(world, options.workspace), options);
  },

  async *acquire(world: World, build: Build): Process {
    yield 0;
    await building.acquire(world, build.job);
  },

  /** CompleteJob; returns the new agents, which have not connected. */
  complete: building.complete,
  fail: building.fail,
  cancel: building.cancel,
  reap: building.reap,
  /** First connection, or the next. */
  connect: connecting.connect,
  startUp: connecting.startUp,
  /** One state of its lifecycle. */
  report: connecting.report,
  /** Its process ends with its workspace. */
  shutDown: connecting.shutDown,
  disconnect: connecting.disconnect,
  insertSubAgent: connecting.insertSubAgent,

  async *heartbeat(world: World, agent: Agent): Process {
    yield* connecting.heartbeat(world, agent, world.replica());
  },

  /** A template is marked as deleted; its workspaces stay. */
  async *deleteTemplate(world: World, template: Template): Process {
    yield 0;
    await markDeleted(world, template);
  },

  /** Very many connected agents, for load. */
  connectsMany,

  /** Time passes. */
  async *wait(_world: World, micros: number): Process {
    yield micros;
  },
} as const;
