// What is in flight: the only state that derivation needs, read through an interface so that the stream,
// the tables and the tests can each bring their own.

import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { AgentStart } from "../change/start.ts";
import type {
  AgentNames,
  BuildNames,
  BuildTraits,
  Ended,
  Fact,
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
  /** As of `Connected`. */
  readonly workspace: Workspace | null;
  readonly light: Light | null;
  /** How long it may take to connect; null: any time. */
  readonly timeout: Micros | null;
  /** When that is up, by the server's clock and counted from the commit of its row. Null: never, or what follows from it is told. */
  readonly due: Micros | null;
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

/** How far an agent has come: null while its start is not over. */
export interface StartingAgent {
  readonly id: Uuid;
  readonly start: AgentStart | null;
}

/**
 * A build that starts a workspace, and of whose agents (without sub-agents) one is not over with its start, or has only timed out.
 * id: the *job*. It is counted once all of them are over, and may wait on for those that are late.
 */
export interface PendingStart extends OfBuild {
  readonly kind: "start";
  readonly id: Uuid;
  readonly createdAt: Micros;
  readonly agents: readonly StartingAgent[];
}

/** Something that waits for news. */
export type Entity = PendingBuild | PendingAgent | RunningJob | LiveWorkspace | PendingStart;
export type EntityKind = Entity["kind"];
/** Those that wait for an end. */
export type WaitingKind = Exclude<EntityKind, "workspace">;

/** A record with an entry for each of them. */
export function perWaiting<T>(make: (kind: WaitingKind) => T): Record<WaitingKind, T> {
  return { build: make("build"), agent: make("agent"), job: make("job"), start: make("start") };
}
export const ENTITIES = [
  "build",
  "agent",
  "job",
  "workspace",
  "start",
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
  pendingStart(job: Uuid): PendingStart | undefined;
  /** Whether the ledger has this fact. */
  known(kind: FactKind, id: Uuid): boolean;
  /** The fact itself: for rare questions. */
  fact<K extends FactKind>(kind: K, id: Uuid): Extract<Fact, { kind: K }> | undefined;
  /** The end of this job, if it has been counted. */
  ended(job: Uuid): Ended | undefined;
  /** What the build of this job is, if its end has been counted: asked for every agent that the tables tell of. */
  endedAs(job: Uuid): EndedAs | undefined;
  /** The number of the build that first built this workspace, if that has been counted. */
  createdBy(workspace: Uuid): number | undefined;
  /** The number of the build that deleted it, likewise. */
  deletedBy(workspace: Uuid): number | undefined;
  /** False: the ledger began at a slot, and has nothing of what came before. */
  readonly whole: boolean;
}

/** An empty ledger, without asking it. */
export const NOTHING_KNOWN: State = {
  pendingBuild: () => undefined,
  pendingAgent: () => undefined,
  workspace: () => undefined,
  runningJob: () => undefined,
  pendingStart: () => undefined,
  known: () => false,
  fact: () => undefined,
  ended: () => undefined,
  endedAs: () => undefined,
  createdBy: () => undefined,
  deletedBy: () => undefined,
  whole: true,
};
