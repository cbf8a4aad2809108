// Workspaces that are there, each by its latest build: what the gauges of the present are made of.

import { type JobRow, PREBUILDS_USER, type Uuid } from "../change/row.ts";
import type { Lsn } from "../lsn.ts";
import type { BuildTraits, OfBuild, Workspace } from "./fact.ts";
import { NOTHING, type Outcome } from "./outcome.ts";
import type { JobStatus, LiveWorkspace, State } from "./state.ts";
import type { AgentEvent, BuildEvent } from "./step.ts";

/** What a build's row says of its workspace: a higher number makes it the latest. */
export function latestBuild(state: State, event: BuildEvent): Outcome {
  const { row, names, deleted, fromTables } = event;
  const known = state.workspace(row.workspace);
  if (fromTables && deleted) return known ? { ...NOTHING, drop: [known] } : NOTHING;
  if (!known && !fromTables) {
    // An orphan's delete, or a row that is told again after its workspace has gone.
    if ((deleted && row.number > 1) || state.known("attempted", row.id)) return NOTHING;
  }
  if (known && known.number > row.number) return NOTHING;
  // Tables tell all of it again.
  if (known && known.number === row.number && !fromTables) return NOTHING;
  const latest: LiveWorkspace = {
    kind: "workspace",
    id: row.workspace,
    createdAt: row.createdAt,
    number: row.number,
    job: row.job,
    status: "pending",
    endedAt: null,
    agents: 0,
    deleted: [],
    names,
    traits: traitsOf(event),
    workspace: workspaceOf(event),
    whole: fromTables || row.number === 1 || known?.whole === true,
  };
  return { ...NOTHING, put: [latest] };
}

/** What a job's row says of its build's workspace: a delete that succeeds ends it, also one that is canceled but done. */
export function latestStatus(state: State, row: JobRow, build: OfBuild | undefined): Outcome {
  const known = build?.workspace ? state.workspace(build.workspace.id) : undefined;
  if (!build || !known) return NOTHING;
  if (build.traits.transition === "delete" && row.completedAt !== null && !row.failed)
    return { ...NOTHING, drop: [known] };
  const [status, endedAt] = [statusOf(row), row.completedAt];
  if (known.job !== row.id || !isLater(known, { status, endedAt })) return NOTHING;
  return { ...NOTHING, put: [{ ...known, status, endedAt }] };
}

/**
 * The same as a fact: the first delete of a workspace that is done is what deleted it. Coder allows another one of what is deleted, which
 * says nothing new.
 */
export function stepDeletion(
  state: State,
  row: JobRow,
  { build, end }: { readonly build: OfBuild | undefined; readonly end: Lsn },
): Outcome {
  if (!build?.workspace || build.traits.transition !== "delete") return NOTHING;
  const { names, traits, workspace, number } = build;
  const { id } = workspace;
  const by = state.deletedBy(id);
  if (row.completedAt !== null && !row.failed) {
    const deleted = { kind: "deleted", id, at: row.completedAt, number } as const;
    if (by === undefined)
      return { ...NOTHING, facts: [{ ...deleted, end, names, traits, workspace }] };
    return by === number ? { ...NOTHING, sightings: [deleted] } : NOTHING;
  }
  // A row of before its end may be told again.
  const takenBack = row.completedAt !== null || row.isOpen === true;
  if (by !== number || !takenBack) return NOTHING;
  return { ...NOTHING, sightings: [{ kind: "deleted", id, at: null }] };
}

const RUNNING: readonly JobStatus[] = ["pending", "running", "canceling"];

/** A row may be told again after what it has become: a job goes from one of these states to the next, and ends once more only later. */
function isLater(
  known: Pick<LiveWorkspace, "status" | "endedAt">,
  told: Pick<LiveWorkspace, "status" | "endedAt">,
): boolean {
  if (told.endedAt !== null) {
    if (known.endedAt === null) return true;
    return told.endedAt > known.endedAt;
  }
  return known.endedAt === null && RUNNING.indexOf(told.status) > RUNNING.indexOf(known.status);
}

/**
 * What an agent's row says of its build's workspace: sub-agents come and go while it runs. `seen`: whether this agent was told of
 * before, so that it is counted already.
 */
export function agentsOf(
  state: State,
  { row, fromTables }: Pick<AgentEvent, "row" | "fromTables">,
  of: { readonly workspace: Uuid | null; readonly job: Uuid; readonly seen: boolean },
): Outcome {
  const known = of.workspace === null ? undefined : state.workspace(of.workspace);
  if (known?.job !== of.job) return NOTHING;
  const isMore = row.isNew && (fromTables || !of.seen);
  const isLess = row.deleted && !known.deleted.includes(row.id);
  if (!isMore && !isLess) return NOTHING;
  const agents = known.agents + (isMore ? 1 : 0);
  const deleted = isLess ? [...known.deleted, row.id] : known.deleted;
  return { ...NOTHING, put: [{ ...known, agents, deleted }] };
}

/** As Coder computes `provisioner_jobs.job_status` (migration 000160). */
export function statusOf({ completedAt, failed, canceledAt, startedAt }: JobRow): JobStatus {
  if (completedAt !== null) {
    if (failed) return "failed";
    return canceledAt === null ? "succeeded" : "canceled";
  }
  if (failed) return "failed";
  if (canceledAt !== null) return "canceling";
  return startedAt === null ? "pending" : "running";
}

/** What a build is, beside its names. */
export function traitsOf({ row, provisioner, claimed }: BuildEvent): BuildTraits {
  const { transition, reason } = row;
  const prebuild = row.initiator === PREBUILDS_USER;
  return { transition, reason, provisioner, initial: row.number === 1, prebuild, claimed };
}

export function workspaceOf({ row, owner, workspace }: BuildEvent): Workspace {
  return { id: row.workspace, owner, name: workspace };
}
