// What it means: one resolved row and the state in, facts and state changes out. Pure, and shared by every source.
//
// A source must bring the rows of one workspace in causal order (build, its job, its agents); rows of different
// workspaces commute. Rows that are already counted change nothing, so overlapping sources need no care.

import { unreachable } from "../errors.ts";
import type { Lsn } from "../lsn.ts";
import type { AgentRow, BuildRow, GoneRow, JobRow, Table, Uuid } from "../change/row.ts";
import { PREBUILDS_USER } from "../change/row.ts";
import { type Micros, clamped } from "../change/micros.ts";
import type {
  AgentNames,
  BuildNames,
  BuildTraits,
  Ending,
  Fact,
  FactKind,
  Names,
  OfBuild,
  Sighting,
} from "./fact.ts";
import { NOTHING, type Outcome, both } from "./outcome.ts";
import type { State } from "./state.ts";
import { stepGoneJob, stepWork } from "./work.ts";

/** A row with what the stream lacks, looked up. `end`: of its transaction, or the snapshot's position. */
export type Event =
  | BuildEvent
  | { readonly row: JobRow; readonly end: Lsn }
  /** names: null when the agent was not looked up, or belongs to no workspace build (import and dry-run jobs). */
  | { readonly row: AgentRow; readonly end: Lsn; readonly names: AgentNames | null }
  | { readonly row: GoneRow; readonly end: Lsn }
  | { readonly row: OfferRow; readonly end: Lsn; readonly names: Names };

export interface BuildEvent extends Pick<BuildTraits, "provisioner" | "claimed"> {
  readonly row: BuildRow;
  readonly end: Lsn;
  readonly names: BuildNames;
  /** Of the workspace, as it is called and whose it is now. */
  readonly workspace: string;
  readonly owner: string;
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
      return stepAgent(state, event as Extract<Event, { row: AgentRow }>);
    case "gone":
      if (event.row.table === "provisioner_jobs") return stepGoneJob(state, event.row.id);
      return {
        ...NOTHING,
        sightings: [{ kind: FACT_OF[event.row.table], id: event.row.id, gone: true }],
      };
    case "offer":
      return stepOffer(state, event as Extract<Event, { row: OfferRow }>);
    default:
      return unreachable(event.row);
  }
}

const FACT_OF: Readonly<Record<Exclude<Table, "provisioner_jobs">, FactKind>> = {
  workspace_builds: "attempted",
  workspace_agents: "connected",
};

function stepBuild(state: State, event: BuildEvent): Outcome {
  const { row, end, names } = event;
  if (state.known("attempted", row.id)) {
    return { ...NOTHING, sightings: [{ kind: "attempted", id: row.id, at: row.createdAt }] };
  }
  const workspace = { id: row.workspace, owner: event.owner, name: event.workspace };
  const build: OfBuild = { names, traits: traitsOf(event), workspace, number: row.number };
  return {
    ...NOTHING,
    facts: [{ kind: "attempted", id: row.id, at: row.createdAt, end, ...build }],
    put: [{ kind: "build", id: row.job, createdAt: row.createdAt, ...build }],
  };
}

function traitsOf({ row, provisioner, claimed }: BuildEvent): BuildTraits {
  const { transition, reason } = row;
  const prebuild = row.initiator === PREBUILDS_USER;
  return { transition, reason, provisioner, initial: row.number === 1, prebuild, claimed };
}

/** Of the worker that has it, and of the build that it is for. */
function stepJob(state: State, row: JobRow, end: Lsn): Outcome {
  const ending = row.completedAt === null ? null : endingOf(row);
  return both(stepWork(state, { row, ending }, end), stepBuildJob(state, row, end));
}

function stepBuildJob(state: State, row: JobRow, end: Lsn): Outcome {
  if (row.completedAt === null) return endTakenBack(state, row.id);
  const ending = endingOf(row);
  const seen = { id: row.id, at: row.completedAt, ...ending };
  const pending = state.pendingBuild(row.id);
  // A job that nobody waits for: of an import or a dry run, or one that ended before. Only the first end counts.
  if (!pending) return endedAgain(state, seen, end);
  const { names, traits, workspace, number } = pending;
  const build = { names, traits, workspace, number };
  // An orphan delete and the reaper of what nobody took write a start time, too, but no worker.
  const took =
    row.worker === null || row.startedAt === null ? null : clamped(row.completedAt - row.startedAt);
  const facts: Fact[] = [{ kind: "ended", ...seen, end, took, ...build }];
  if (workspace && isStart(build) && ending.status === "success") {
    if (creates(number, state.createdBy(workspace.id)))
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

function isStart({ traits }: Pick<OfBuild, "traits">): boolean {
  return traits.transition === "start";
}

type Seen = { readonly id: Uuid; readonly at: Micros } & Ending;

/**
 * A job that has ended is told of again. It may be the reaper's, completed after all: then its workspace exists from now on,
 * unless another build has made it. What was counted stays.
 */
function endedAgain(state: State, seen: Seen, end: Lsn): Outcome {
  const again: Outcome = { ...NOTHING, sightings: [{ kind: "ended", ...seen }] };
  const before = state.ended(seen.id);
  if (!before?.workspace || !isStart(before)) return again;
  const { names, traits, workspace, number } = before;
  const createdBy = state.createdBy(workspace.id);
  const created = { kind: "created", id: workspace.id, at: seen.at, number } as const;
  if (seen.status !== "success")
    return createdBy === number ? alsoSeen(again, { ...created, at: null }) : again;
  const facts = creates(number, createdBy)
    ? [{ ...created, end, names, traits, workspace }]
    : again.facts;
  // Coder says that the lowest one did it; the ledger, the one that was seen first.
  return createdBy !== undefined && number <= createdBy
    ? alsoSeen({ ...again, facts }, created)
    : { ...again, facts };
}

function alsoSeen(outcome: Outcome, sighting: Sighting): Outcome {
  return { ...outcome, sightings: [...outcome.sightings, sighting] };
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

function stepAgent(state: State, { row, end, names }: Extract<Event, { row: AgentRow }>): Outcome {
  const pending = state.pendingAgent(row.id);
  if (row.firstConnectedAt === null) {
    if (pending) return NOTHING;
    // A slot that is replayed tells of agents as they were before they connected.
    if (state.known("connected", row.id))
      return row.isNew ? NOTHING : takenBack("connected", row.id);
    if (names === null) return NOTHING;
    return { ...NOTHING, put: [{ kind: "agent", id: row.id, createdAt: row.createdAt, names }] };
  }
  // Two clamped times can be further apart than any duration that the store holds.
  const took = clamped(row.firstConnectedAt - row.createdAt);
  const seen = { kind: "connected" as const, id: row.id, at: row.firstConnectedAt, took };
  const frozen = pending?.names ?? names;
  if (frozen === null || state.known("connected", row.id)) return { ...NOTHING, sightings: [seen] };
  return { ...NOTHING, facts: [{ ...seen, end, names: frozen }], drop: pending ? [pending] : [] };
}

function endTakenBack(state: State, job: Uuid): Outcome {
  const before = state.ended(job);
  if (!before) return NOTHING;
  const outcome = takenBack("ended", job);
  const { workspace, number } = before;
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
