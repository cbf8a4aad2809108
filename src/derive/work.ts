// What a job's row says of the worker that has it, or had: of jobs of all types, beside what `step` says of the build.

import type { Lsn } from "../lsn.ts";
import { clamped } from "../change/micros.ts";
import type { JobRow, Uuid } from "../change/row.ts";
import { BUILD_JOB, type Ending, type OfBuild, type OfJob, type Sighting } from "./fact.ts";
import type { State } from "./state.ts";
import { NOTHING, type Outcome, both } from "./outcome.ts";

export interface Work {
  readonly row: JobRow;
  /** How it ended; null while it has not. */
  readonly ending: Ending | null;
  /**
   * The build that has it, whatever its type says, if that is known. One that has ended may be known without its start: an older
   * version counted it.
   */
  readonly build: OfBuild | undefined;
}

export function stepWork(state: State, { row, ending, build }: Work, end: Lsn): Outcome {
  const start = stepStart(state, { row, build }, end);
  const rest =
    ending === null ? stepRunning(state, row) : stepRan(state, { row, ending, build }, end);
  return both(start, rest);
}

/** Taken from the queue: first seen while it runs, or with its end. The reaper and orphan deletes set a start without a worker. */
function stepStart(state: State, { row, build }: Pick<Work, "row" | "build">, end: Lsn): Outcome {
  const known = state.known("started", row.id);
  if (row.worker === null || row.startedAt === null)
    return known ? seen({ kind: "started", id: row.id, at: null }) : NOTHING;
  const took = clamped(row.startedAt - row.createdAt);
  const started = { kind: "started", id: row.id, at: row.startedAt, took } as const;
  if (known) return seen(started);
  const of = workOf(row, build);
  return of === null ? NOTHING : { ...NOTHING, facts: [{ ...started, end, ...of }] };
}

function stepRunning(state: State, row: JobRow): Outcome {
  if (state.known("ran", row.id))
    return row.isOpen ? seen({ kind: "ran", id: row.id, at: null }) : NOTHING;
  // The end of a build is taken back by `step`.
  if (state.known("ended", row.id)) return NOTHING;
  if (row.worker === null || row.startedAt === null || state.runningJob(row.id)) return NOTHING;
  const { id, createdAt } = row;
  return { ...NOTHING, put: [{ kind: "job", id, createdAt, ...jobOf(row) }] };
}

function stepRan(
  state: State,
  { row, ending, build }: Work & { readonly ending: Ending },
  end: Lsn,
): Outcome {
  const running = state.runningJob(row.id);
  const over: Outcome = running ? { ...NOTHING, drop: [running] } : NOTHING;
  if (row.completedAt === null || row.type === BUILD_JOB || build) return over;
  const ran = { kind: "ran", id: row.id, at: row.completedAt, ...ending } as const;
  if (state.known("ran", row.id)) return both(over, seen(ran));
  if (row.worker === null || row.startedAt === null) return over;
  const took = clamped(row.completedAt - row.startedAt);
  return { ...over, facts: [{ ...ran, end, took, ...jobOf(row) }] };
}

/** A job that is gone runs no more, and its agents, which are gone with it, do not start. */
export function stepGoneJob(state: State, id: Uuid): Outcome {
  const running = state.runningJob(id);
  const start = state.pendingStart(id);
  const sightings = (["ended", "started", "ran", "ready"] as const).map((kind) => ({
    kind,
    id,
    gone: true as const,
  }));
  return { ...NOTHING, sightings, drop: [running ?? [], start ?? []].flat() };
}

/** Null for a build that was never seen: `--baseline none` began after it. */
function workOf(row: JobRow, build: OfBuild | undefined): OfBuild | OfJob | null {
  if (!build) return row.type === BUILD_JOB ? null : jobOf(row);
  const { names, traits, workspace, number } = build;
  return { names, traits, workspace, number };
}

function jobOf({ type, provisioner }: JobRow): OfJob {
  return { type, provisioner };
}

function seen(sighting: Sighting): Outcome {
  return { ...NOTHING, sightings: [sighting] };
}
