// What is in flight: the only state that derivation needs, read through an interface so that the stream,
// the tables and the tests can each bring their own.

import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { AgentNames, Ended, FactKind, OfBuild, OfJob } from "./fact.ts";

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
}

/** A job, of any type, that a worker has and that has not ended. */
export interface RunningJob extends OfJob {
  readonly kind: "job";
  readonly id: Uuid;
  readonly createdAt: Micros;
}

/** Something that waits for news. */
export type Entity = PendingBuild | PendingAgent | RunningJob;
export type EntityKind = Entity["kind"];

/** What is known before an event. Reads see everything that earlier events put or dropped, committed or not. */
export interface State {
  pendingBuild(job: Uuid): PendingBuild | undefined;
  pendingAgent(agent: Uuid): PendingAgent | undefined;
  runningJob(job: Uuid): RunningJob | undefined;
  /** Whether the ledger has this fact. */
  known(kind: FactKind, id: Uuid): boolean;
  /** The end of this job, if it has been counted. */
  ended(job: Uuid): Ended | undefined;
  /** The number of the build that first built this workspace, if that has been counted. */
  createdBy(workspace: Uuid): number | undefined;
}

/** An empty ledger, without asking it. */
export const NOTHING_KNOWN: State = {
  pendingBuild: () => undefined,
  pendingAgent: () => undefined,
  runningJob: () => undefined,
  known: () => false,
  ended: () => undefined,
  createdBy: () => undefined,
};
