// The full mix of workflows: every workflow of the simulation by name, and how often each comes up. Drawn as cards from a
// shuffled deck, so that any hundred workflows in a row hold each kind at least once.

import { must } from "../../errors.ts";
import type { Random } from "./random.ts";
import type { Process } from "./timeline.ts";
import * as agents from "./workflows/agents.ts";
import * as creates from "./workflows/creates.ts";
import * as prebuilds from "./workflows/prebuilds.ts";
import * as templates from "./workflows/templates.ts";
import * as transitions from "./workflows/transitions.ts";
import * as upkeep from "./workflows/upkeep.ts";
import type { World } from "./world.ts";

/** Every workflow, by name. */
export const WORKFLOWS = {
  createRegular: creates.createRegular,
  createFails: creates.createFails,
  createFailsWithCode: creates.createFailsWithCode,
  createFailsThenStarts: creates.createFailsThenStarts,
  acquireFails: creates.acquireFails,
  cancelPending: creates.cancelPending,
  cancelRunning: creates.cancelRunning,
  cancelRunningButBuilt: creates.cancelRunningButBuilt,
  cancelRunningThenReaped: creates.cancelRunningThenReaped,
  reapPending: creates.reapPending,
  reapHung: creates.reapHung,
  reapedThenCompletes: creates.reapedThenCompletes,
  completesTwice: creates.completesTwice,
  secondCompletionRefused: creates.secondCompletionRefused,
  rolledBackThenCreated: creates.rolledBackThenCreated,
  createdAfterSavepoint: creates.createdAfterSavepoint,
  staysPending: creates.staysPending,
  staysRunning: creates.staysRunning,
  stop: transitions.stop,
  start: transitions.start,
  startDormant: transitions.startDormant,
  update: transitions.update,
  restart: transitions.restart,
  remove: transitions.remove,
  removeRunning: transitions.removeRunning,
  autostart: transitions.autostart,
  autostop: transitions.autostop,
  autodelete: transitions.autodelete,
  stopFailsThenStops: transitions.stopFailsThenStops,
  orphanDelete: transitions.orphanDelete,
  fillPool: prebuilds.fillPool,
  prebuildFails: prebuilds.prebuildFails,
  deletePrebuild: prebuilds.deletePrebuild,
  cancelStalePrebuilds: prebuilds.cancelStalePrebuilds,
  claim: prebuilds.claim,
  claimFails: prebuilds.claimFails,
  adminRestartsThenClaim: prebuilds.adminRestartsThenClaim,
  publishVersion: templates.publishVersion,
  importFails: templates.importFails,
  dryRun: templates.dryRun,
  renameTemplate: templates.renameTemplate,
  recreateTemplate: templates.recreateTemplate,
  renameWorkspace: upkeep.renameWorkspace,
  renameUser: upkeep.renameUser,
  activityBump: upkeep.activityBump,
  statePush: upkeep.statePush,
  softDeleteBurst: upkeep.softDeleteBurst,
  rewriteBurst: upkeep.rewriteBurst,
  connectsBeforeCreation: agents.connectsBeforeCreation,
  connectsAtOnce: agents.connectsAtOnce,
  dynamicSubAgent: agents.dynamicSubAgent,
  overlappingConnections: agents.overlappingConnections,
} as const;

export type WorkflowName = keyof typeof WORKFLOWS;

/** More than one card each: what a deployment does all day. */
const COMMON: Partial<Record<WorkflowName, number>> = {
  createRegular: 18,
  createFails: 4,
  cancelRunning: 2,
  stop: 4,
  start: 4,
  restart: 2,
  removeRunning: 2,
  autostart: 2,
  autostop: 2,
  fillPool: 2,
  claim: 4,
};

/** After these the tables no longer say what was final first. */
const DIVERGENT: ReadonlySet<WorkflowName> = new Set([
  "reapedThenCompletes",
  "completesTwice",
  "overlappingConnections",
]);

/** Never in a demonstration that runs for ever: builds that stay in flight, and statements that grow with history. */
const FINITE: ReadonlySet<WorkflowName> = new Set([
  "staysPending",
  "staysRunning",
  "softDeleteBurst",
  "rewriteBurst",
]);

/** Draws workflows for ever. */
export function* deck(
  random: Random,
  options: { readonly divergent: boolean; readonly endless: boolean },
): Generator<WorkflowName, never, void> {
  const names = Object.keys(WORKFLOWS) as WorkflowName[];
  const cards = names
    .filter((name) => options.divergent || !DIVERGENT.has(name))
    .filter((name) => !options.endless || !FINITE.has(name))
    .flatMap((name) => Array.from({ length: COMMON[name] ?? 1 }, () => name));
  for (;;) yield* random.shuffled(cards);
}

/** Starts a workflow with its defaults. */
export function workflow(world: World, name: WorkflowName): Process<unknown> {
  return must(WORKFLOWS[name], "no such workflow")(world);
}
