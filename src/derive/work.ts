// What a job's row says of the worker that has it, or had: of jobs of all types, beside what `step` says of the build.

import type { Lsn } from "../lsn.ts";
import { clamped } from "../change/micros.ts";
import type { JobRow, Uuid } from "../change/row.ts";
import { BUILD_JOB, type Ending, type OfBuild, type OfJob, type Sighting } from "./fact.ts";
import type { State } from "./state.ts";
import { NOTHING, type Outcome, both } from "./outcome.ts";

/** `ending`: how it ended; null while it has not. */
export function stepWork(
  state: State,
  { row, ending }: { readonly row: JobRow; readonly ending: Ending | null },
  end: Lsn,
): Outcome {
  const start = stepStart(state, row, end);
  const rest = ending === null ? stepRunning(state, row) : stepRan(state, { row, ending }, end);
  return both(start, rest);
}

/** Taken from the queue: first seen while it runs, or with its end. The reaper and orphan deletes set a start without a worker. */
function stepStart(state: State, row: JobRow, end: Lsn): Outcome {
  const known = state.known("started", row.id);
  if (row.worker === null || row.startedAt === null)
    return known ? seen({ kind: "started", id: row.id, at: null }) : NOTHING;
  const took = clamped(row.startedAt - row.createdAt);
  const started = { kind: "started", id: row.id, at: row.startedAt, took } as const;
  if (known) return seen(started);
  const of = workOf(state, row);
  return of === null ? NOTHING : { ...NOTHING, facts: [{ ...started, end, ...of }] };
}

function stepRunning(state: State, row: JobRow): Outcome {
  if (state.known("ran", row.id)) return seen({ kind: "ran", id: row.id, at: null });
  // The end of a build is taken back by `step`.
  if (state.known("ended", row.id)) return NOTHING;
  if (row.worker === null || row.startedAt === null || state.runningJob(row.id)) return NOTHING;
  const { id, createdAt } = row;
  return { ...NOTHING, put: [{ kind: "job", id, createdAt, ...jobOf(row) }] };
}

function stepRan(
  state: State,
  { row, ending }: { readonly row: JobRow; readonly ending: Ending },
  end: Lsn,
): Outcome {
  const running = state.runningJob(row.id);
  const over: Outcome = running ? { ...NOTHING, drop: [running] } : NOTHING;
  if (row.completedAt === null || !buildsNothing(state, row)) return over;
  const ran = { kind: "ran", id: row.id, at: row.completedAt, ...ending } as const;
  if (state.known("ran", row.id)) return both(over, seen(ran));
  if (row.worker === null || row.startedAt === null) return over;
  const took = clamped(row.completedAt - row.startedAt);
  return { ...over, facts: [{ ...ran, end, took, ...jobOf(row) }] };
}

/** A job that is gone runs no more. */
export function stepGoneJob(state: State, id: Uuid): Outcome {
  const running = state.runningJob(id);
  const sightings = (["ended", "started", "ran"] as const).map((kind) => ({
    kind,
    id,
    gone: true as const,
  }));
  return { ...NOTHING, sightings, drop: running ? [running] : [] };
}

/** Null for a build that was never seen: `--baseline none` began after it. */
function workOf(state: State, row: JobRow): OfBuild | OfJob | null {
  const build = buildOf(state, row);
  if (!build) return row.type === BUILD_JOB ? null : jobOf(row);
  const { names, traits, workspace, number } = build;
  return { names, traits, workspace, number };
}

/** The build that has this job, whatever its type says; one that ended is known without its start where an older version counted it. */
function buildOf(state: State, { id }: JobRow): OfBuild | undefined {
  return state.pendingBuild(id) ?? state.ended(id);
}

function buildsNothing(state: State, row: JobRow): boolean {
  return row.type !== BUILD_JOB && buildOf(state, row) === undefined;
}

function jobOf({ type, provisioner }: JobRow): OfJob {
  return { type, provisioner };
}

function seen(sighting: Sighting): Outcome {
  return { ...NOTHING, sightings: [sighting] };
}
