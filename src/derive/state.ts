// What is in flight: the only state that derivation needs, read through an interface so that the stream,
// the tables and the tests can each bring their own.

import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type {
  AgentNames,
  BuildNames,
  BuildTraits,
  Ended,
  FactKind,
  Light,
  OfBuild,
  OfJob,
  Workspace,
} from "./fact.ts";

/** A build whose job has not ended. id: the *job*, which is what ends. */
export interface PendingBuild extends OfBuild {
  readonly kind: "build";
  readonly id: Uuid;
  readonly createdAt: Micros;
}

/** An agent that has not connected. */
export interface PendingAgent {
  readonly kind: "agent";
  readonly id: Uuid;
  readonly createdAt: Micros;
  readonly names: AgentNames;
  readonly light: Light | null;
}

/** Coder's job_status, recomputed (migration 000160). */
export type JobStatus = "pending" | "running" | "canceling" | "succeeded" | "failed" | "canceled";

/** A workspace that is not deleted, by its latest build: the one with the highest number. */
export interface LiveWorkspace {
  readonly kind: "workspace";
  readonly id: Uuid;
  /** Of that build, like all that follows. */
  readonly createdAt: Micros;
  readonly number: number;
  readonly job: Uuid;
  readonly status: JobStatus;
  /** When that job ended, as far as is known. */
  readonly endedAt: Micros | null;
  readonly names: BuildNames;
  readonly traits: BuildTraits;
  readonly workspace: Workspace;
  /** How many agents that build has had, and which of them are deleted. */
  readonly agents: number;
  readonly deleted: readonly Uuid[];
  /** Every build that it ever had is in the ledger. */
  readonly whole: boolean;
}

/** A job, of any type, that a worker has and that has not ended. */
export interface RunningJob extends OfJob {
  readonly kind: "job";
  readonly id: Uuid;
  readonly createdAt: Micros;
}

/** Something that waits for news. */
export type Entity = PendingBuild | PendingAgent | RunningJob | LiveWorkspace;
export type EntityKind = Entity["kind"];
/** Those that wait for an end. */
export type WaitingKind = Exclude<EntityKind, "workspace">;
export const ENTITIES = [
  "build",
  "agent",
  "job",
  "workspace",
] as const satisfies readonly EntityKind[];

/** A record with an entry for each kind of entity. */
export function perEntity<T>(make: () => T): Record<EntityKind, T> {
  return Object.fromEntries(ENTITIES.map((kind) => [kind, make()])) as Record<EntityKind, T>;
}

/** What is asked about a build whose end has been counted. `workspace`: null where that was not recorded. */
export interface EndedAs {
  readonly traits: BuildTraits;
  readonly workspace: Uuid | null;
}

/** What is known before an event. Reads see everything that earlier events put or dropped, committed or not. */
export interface State {
  pendingBuild(job: Uuid): PendingBuild | undefined;
  pendingAgent(agent: Uuid): PendingAgent | undefined;
  workspace(id: Uuid): LiveWorkspace | undefined;
  runningJob(job: Uuid): RunningJob | undefined;
  /** Whether the ledger has this fact. */
  known(kind: FactKind, id: Uuid): boolean;
  /** The end of this job, if it has been counted. */
  ended(job: Uuid): Ended | undefined;
  /** What the build of this job is, if its end has been counted: asked for every agent that the tables tell of. */
  endedAs(job: Uuid): EndedAs | undefined;
  /** The number of the build that first built this workspace, if that has been counted. */
  createdBy(workspace: Uuid): number | undefined;
  /** False: the ledger began at a slot, and has nothing of what came before. */
  readonly whole: boolean;
}

/** An empty ledger, without asking it. */
export const NOTHING_KNOWN: State = {
  pendingBuild: () => undefined,
  pendingAgent: () => undefined,
  workspace: () => undefined,
  runningJob: () => undefined,
  known: () => false,
  ended: () => undefined,
  endedAs: () => undefined,
  createdBy: () => undefined,
  whole: true,
};
