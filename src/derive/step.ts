// What it means: one resolved row and the state in, facts and state changes out. Pure, and shared by every source.
//
// A source must bring the rows of one workspace in causal order (build, its job, its agents); rows of different
// workspaces commute. Rows that are already counted change nothing, so overlapping sources need no care.

import { unreachable } from "../errors.ts";
import type { Lsn } from "../lsn.ts";
import type { AgentRow, BuildRow, GoneRow, JobRow, Uuid } from "../change/row.ts";
import { PREBUILDS_USER } from "../change/row.ts";
import { type Micros, clamped } from "../change/micros.ts";
import type {
  AgentNames,
  BuildNames,
  BuildTraits,
  Ended,
  Ending,
  Fact,
  FactKind,
  Names,
  OfBuild,
  Workspace,
} from "./fact.ts";
import { type BuildTimes, lightOf } from "./light.ts";
import { type DueRow, stepDue, stepGoneAgent, stepOverdue } from "./overdue.ts";
import type { PendingAgent, PendingBuild, State } from "./state.ts";
import { NOTHING, type Outcome, alsoSeen, both } from "./outcome.ts";
import { type ToldStart, stepStart } from "./starts.ts";
import { stepGoneJob, stepWork } from "./work.ts";
import {
  agentsOf,
  latestBuild,
  latestStatus,
  stepDeletion,
  traitsOf,
  workspaceOf,
} from "./workspace.ts";

/** A row with what the stream lacks, looked up. `end`: of its transaction, or the snapshot's position. */
export type Event =
  | BuildEvent
  | { readonly row: JobRow; readonly end: Lsn }
  | AgentEvent
  | { readonly row: GoneRow; readonly end: Lsn }
  | { readonly row: DueRow; readonly end: Lsn }
  | { readonly row: OfferRow; readonly end: Lsn; readonly names: Names };

export interface BuildEvent extends Pick<BuildTraits, "provisioner" | "claimed"> {
  readonly row: BuildRow;
  readonly end: Lsn;
  readonly names: BuildNames;
  /** Of the workspace, as it is called and whose it is now. */
  readonly workspace: string;
  readonly owner: string;
  /** The workspace is deleted by now. */
  readonly deleted: boolean;
  /** Read from the tables, with all that they have: the workspace has no build that is not told of. */
  readonly fromTables: boolean;
}

/**
 * Nulls when the agent was not looked up, or belongs to no workspace build (import and dry-run jobs). names: for new ones only;
 * times: also for deleted ones.
 */
export interface AgentEvent {
  readonly row: AgentRow;
  readonly end: Lsn;
  readonly names: AgentNames | null;
  readonly times: BuildTimes | null;
  /** Of new ones that may not take any time to connect: how long, and when that is up by the server's clock. */
  readonly limit?: { readonly timeout: Micros; readonly due: Micros };
  /** Of a row that tells how the agent's start goes: what the tables say of its build's start by now. Null: nothing. */
  readonly start?: ToldStart | null;
  /** Read from the tables, which have each once. */
  readonly fromTables?: boolean;
}

/** A template or preset found by a lookup: not news of the stream itself, but of what it led to. */
export interface OfferRow {
  readonly kind: "offer";
  readonly id: Uuid;
  readonly at: Micros;
}

/** Whether this build may claim a prebuild: to be told by its job's stage, if build 1 of its workspace was one. */
export function mayClaim(row: Pick<BuildRow, "number" | "transition" | "initiator">): boolean {
  return row.number > 1 && row.transition === "start" && row.initiator !== PREBUILDS_USER;
}

/** Derives what one event means. */
export function step(state: State, event: Event): Outcome {
  switch (event.row.kind) {
    case "build":
      return stepBuild(state, event as BuildEvent);
    case "job":
      return stepJob(state, event.row, event.end);
    case "agent":
      return stepAgent(state, event as AgentEvent);
    case "gone":
      return stepGone(state, event.row);
    case "due":
      return stepDue(state, event.row, event.end);
    case "offer":
      return stepOffer(state, event as Extract<Event, { row: OfferRow }>);
    default:
      return unreachable(event.row);
  }
}

function stepGone(state: State, { table, id }: GoneRow): Outcome {
  switch (table) {
    case "provisioner_jobs":
      return stepGoneJob(state, id);
    case "workspace_agents":
      return stepGoneAgent(state, id);
    case "workspace_builds":
      return { ...NOTHING, sightings: [{ kind: "attempted", id, gone: true }] };
  }
}

function stepBuild(state: State, event: BuildEvent): Outcome {
  const { row, end, names } = event;
  const latest = latestBuild(state, event);
  if (state.known("attempted", row.id)) {
    return { ...latest, sightings: [{ kind: "attempted", id: row.id, at: row.createdAt }] };
  }
  const workspace = workspaceOf(event);
  const build: OfBuild = { names, traits: traitsOf(event), workspace, number: row.number };
  return {
    ...latest,
    facts: [{ kind: "attempted", id: row.id, at: row.createdAt, end, ...build }],
    put: [...latest.put, { kind: "build", id: row.job, createdAt: row.createdAt, ...build }],
  };
}

/** Of the worker that has it, of the workspace that it builds, and of the build. */
function stepJob(state: State, row: JobRow, end: Lsn): Outcome {
  const pending = state.pendingBuild(row.id);
  const before = pending ? undefined : state.ended(row.id);
  const build = pending ?? before;
  const ending = row.completedAt === null ? null : endingOf(row);
  const work = stepWork(state, { row, ending, build }, end);
  const latest = latestStatus(state, row, build);
  const ended = pending
    ? stepEnd(state, { row, pending, end })
    : endedAgain(state, { row, before, end });
  const deletion = stepDeletion(state, row, { build, end });
  return both(both(work, latest), both(ended, deletion));
}

function stepEnd(
  state: State,
  { row, pending, end }: { row: JobRow; pending: PendingBuild; end: Lsn },
): Outcome {
  if (row.completedAt === null) return NOTHING;
  const ending = endingOf(row);
  const seen = { id: row.id, at: row.completedAt, ...ending };
  const { names, traits, workspace, number } = pending;
  const build = { names, traits, workspace, number };
  // An orphan delete and the reaper of what nobody took write a start time, too, but no worker.
  const took =
    row.worker === null || row.startedAt === null ? null : clamped(row.completedAt - row.startedAt);
  const facts: Fact[] = [{ kind: "ended", ...seen, end, took, ...build }];
  if (workspace && isStart(build) && ending.status === "success") {
    if (isWhole(state, build) && creates(number, state.createdBy(workspace.id)))
      facts.push({ kind: "created", ...build, id: workspace.id, at: seen.at, end });
  }
  return { ...NOTHING, facts, drop: [pending] };
}

/**
 * Tables are read in no order, so a lower one may come later. What is known by then, and not of the same tables, stays: the
 * ledger ignores a second fact.
 */
function creates(number: number, createdBy: number | undefined): boolean {
  return createdBy === undefined || number < createdBy;
}

/** Whether no earlier build can have created its workspace unseen. */
function isWhole(state: State, { workspace, number }: OfBuild): boolean {
  if (state.whole || number === 1) return true;
  return workspace !== null && state.workspace(workspace.id)?.whole === true;
}

function isStart({ traits }: Pick<OfBuild, "traits">): boolean {
  return traits.transition === "start";
}

/**
 * A job that nobody waits for: of an import or a dry run, or one that ended before. Only the first end counts. It may be one
 * that the reaper ended, completed after all: then its workspace exists from now on, unless another build has made it.
 */
function endedAgain(
  state: State,
  { row, before, end }: { row: JobRow; before: Ended | undefined; end: Lsn },
): Outcome {
  if (row.completedAt === null) return before && row.isOpen ? endTakenBack(state, before) : NOTHING;
  const seen = { id: row.id, at: row.completedAt, ...endingOf(row) };
  const again: Outcome = { ...NOTHING, sightings: [{ kind: "ended", ...seen }] };
  if (!before?.workspace || !isStart(before)) return again;
  const { names, traits, workspace, number } = before;
  const createdBy = state.createdBy(workspace.id);
  const created = { kind: "created", id: workspace.id, at: seen.at, number } as const;
  if (seen.status !== "success")
    return createdBy === number ? alsoSeen(again, { ...created, at: null }) : again;
  const facts =
    isWhole(state, before) && creates(number, createdBy)
      ? [{ ...created, end, names, traits, workspace }]
      : again.facts;
  // Coder says that the lowest one did it; the ledger, the one that was seen first.
  return createdBy !== undefined && number <= createdBy
    ? alsoSeen({ ...again, facts }, created)
    : { ...again, facts };
}

/** How a completed job ended (design section 5): an error outweighs a cancel, as in Coder's own job_status. */
export function endingOf(
  row: Pick<JobRow, "failed" | "canceledAt" | "worker" | "errorCode">,
): Ending {
  if (!row.failed)
    return { status: row.canceledAt === null ? "success" : "canceled", stage: "", errorCode: "" };
  return {
    status: "failure",
    stage: row.worker === null ? "queue" : "provisioner",
    errorCode: row.errorCode || (row.canceledAt === null ? "other" : "user_canceled"),
  };
}

function stepAgent(state: State, event: AgentEvent): Outcome {
  const { row, times } = event;
  const build = times === null ? undefined : state.endedAs(times.job);
  const pending = state.pendingAgent(row.id);
  const born = { light: lightOf(build, row, times), workspace: workspaceWith(event) };
  const connection = stepConnection(state, event, { pending, born });
  const told = both(both(connection, stepOverdue(state, event, pending)), stepStart(state, event));
  if (times === null) return told;
  // Coder makes agents with the end of their build; others may not.
  const workspace = build?.workspace ?? state.pendingBuild(times.job)?.workspace?.id ?? null;
  const seen = connection.put.length === 0 && connection.facts.length === 0;
  return both(agentsOf(state, event, { workspace, job: times.job, seen }), told);
}

/** Whose agent it is, by the names that it gets. */
function workspaceWith({ names, times }: AgentEvent): Workspace | null {
  if (names === null || times === null) return null;
  return { id: times.workspace, owner: names.username, name: names.workspace };
}

/** `born`: what is frozen beside the names of a new one. */
function stepConnection(
  state: State,
  { row, end, names, limit }: AgentEvent,
  {
    pending,
    born,
  }: {
    readonly pending: PendingAgent | undefined;
    readonly born: Pick<PendingAgent, "light" | "workspace">;
  },
): Outcome {
  if (row.firstConnectedAt === null) {
    if (pending) return NOTHING;
    // A slot that is replayed tells of agents as they were before they connected.
    if (state.known("connected", row.id))
      return row.isNew || row.deleted ? NOTHING : takenBack("connected", row.id);
    if (names === null) return NOTHING;
    const { id, createdAt } = row;
    const { timeout = null, due = null } = limit ?? {};
    return {
      ...NOTHING,
      put: [{ kind: "agent", id, createdAt, names, ...born, timeout, due }],
    };
  }
  // Two clamped times can be further apart than any duration that the store holds.
  const took = clamped(row.firstConnectedAt - row.createdAt);
  const seen = { kind: "connected" as const, id: row.id, at: row.firstConnectedAt, took };
  const frozen = pending?.names ?? names;
  if (frozen === null || state.known("connected", row.id)) return { ...NOTHING, sightings: [seen] };
  const { light, workspace } = pending ?? born;
  const fact: Fact = { ...seen, end, names: frozen, light, workspace };
  return { ...NOTHING, facts: [fact], drop: pending ? [pending] : [] };
}

function endTakenBack(state: State, { id, workspace, number }: Ended): Outcome {
  const outcome = takenBack("ended", id);
  if (!workspace || state.createdBy(workspace.id) !== number) return outcome;
  return alsoSeen(outcome, { kind: "created", id: workspace.id, at: null });
}

/** The final time is NULL now: nothing to count, and other than what may have been counted. */
function takenBack(kind: FactKind, id: Uuid): Outcome {
  return { ...NOTHING, sightings: [{ kind, id, at: null }] };
}

function stepOffer(state: State, { row, end, names }: Extract<Event, { row: OfferRow }>): Outcome {
  if (state.known("offered", row.id)) return NOTHING;
  return { ...NOTHING, facts: [{ kind: "offered", id: row.id, at: row.at, end, names }] };
}
