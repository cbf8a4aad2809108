// Facts: one statement about one id, counted once. The ledger keeps them; every total is a fold of them.

import type { Lsn } from "../lsn.ts";
import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { StartStatus } from "../change/start.ts";

/** What can be built: label values, frozen when they were first seen. Empty text where there is none or the row is gone. */
export interface Names {
  readonly organization: string;
  readonly template: string;
  readonly preset: string;
}

/** Label values of a build. */
export interface BuildNames extends Names {
  readonly version: string;
}

/** Whose build it is: owner and name as they were when it was first seen. */
export interface Workspace {
  readonly id: Uuid;
  readonly owner: string;
  readonly name: string;
}

/** Label values of an agent. */
export interface AgentNames extends Names {
  readonly agent: string;
  readonly username: string;
  readonly workspace: string;
}

/** What a build is, beside its names: frozen when it was first seen. */
export interface BuildTraits {
  /** Coder's word for what it does and why; also one that this version does not know. */
  readonly transition: string;
  readonly reason: string;
  readonly provisioner: string;
  /** Build number 1. */
  readonly initial: boolean;
  /** By the system user that makes, and deletes, prebuilds. */
  readonly prebuild: boolean;
  /** The preset of the prebuild that this build claims, '' for one without; null: it claims none. */
  readonly claimed: string | null;
}

/** Whether this is the creation of a workspace by a person (design section 4). */
export function isFirstBuild({
  initial,
  prebuild,
  transition,
}: Pick<BuildTraits, "initial" | "prebuild" | "transition">): boolean {
  return initial && transition === "start" && !prebuild;
}

export type Status = "success" | "failure" | "canceled";

/** Where a failed build failed: before a provisioner took it, or in one. */
export type Stage = "queue" | "provisioner";

/** How a job ended. `stage` and `errorCode` are empty unless it failed. */
export interface Ending {
  readonly status: Status;
  readonly stage: Stage | "";
  readonly errorCode: string;
}

/** A job that builds no workspace: an import or a dry run. Coder's words, also ones that this version does not know. */
export interface OfJob {
  readonly type: string;
  readonly provisioner: string;
}

/** The type of the jobs that build workspaces; facts about these have `OfBuild`. */
export const BUILD_JOB = "workspace_build";

interface Common {
  readonly id: Uuid;
  /** The event's own time, from the row: coderd's clock. */
  readonly at: Micros;
  /** End of the transaction, or the snapshot's position, that told us. */
  readonly end: Lsn;
}

/** The build that a fact is about, as it was first seen. */
export interface OfBuild {
  readonly names: BuildNames;
  readonly traits: BuildTraits;
  /** Null where a version that did not record it counted the build, and no baseline has filled it in. */
  readonly workspace: Workspace | null;
  /** build_number: from 1, in the order in which the workspace had them. 0 where `workspace` is null. */
  readonly number: number;
}

/** A build's row exists. id: the build. */
export interface Attempted extends Common, OfBuild {
  readonly kind: "attempted";
}

/** A workspace was built for the first time: the first start that succeeded. id: the workspace. */
export interface Created extends Common, OfBuild {
  readonly kind: "created";
}

/** A workspace was deleted: by the first delete of it that was seen to be done. id: the workspace. */
export interface Deleted extends Common, OfBuild {
  readonly kind: "deleted";
}

/** A build's job reached its first final state. id: the job. */
export interface Ended extends Common, Ending, OfBuild {
  readonly kind: "ended";
  /** From when a provisioner took the job; null when none did. Negative where the clocks of two replicas disagree. */
  readonly took: Micros | null;
}

/**
 * A worker took the job. id: the job. `took`: what it waited for that, from its creation; 0 or less where the clocks of two
 * replicas disagree.
 */
export type Started = Common & { readonly kind: "started"; readonly took: Micros } & (
    | OfBuild
    | OfJob
  );

/** A job that builds no workspace, and that a worker had, reached its first final state. id: the job. `took`: as of `Ended`. */
export interface Ran extends Common, Ending, OfJob {
  readonly kind: "ran";
  readonly took: Micros;
}

/** What came before the agent of a start could connect: frozen when the agent was first seen. */
export interface Light {
  /** Of the build, as they were counted with its end. */
  readonly traits: BuildTraits;
  /** From the build's creation until a provisioner took the job. Negative where clocks disagree, like the next one. */
  readonly queued: Micros;
  /** From there to the job's end. */
  readonly provisioned: Micros;
  /** The job's end. */
  readonly completedAt: Micros;
}

/** An agent connected for the first time. id: the agent. `took` is negative where the clocks of two replicas disagree. */
export interface Connected extends Common {
  readonly kind: "connected";
  readonly took: Micros;
  readonly names: AgentNames;
  /** As of these names. Null where an older version did not record it, and no baseline has filled it in. */
  readonly workspace: Workspace | null;
  /** Null for those that no time to first light is told of: see `lightOf`. */
  readonly light: Light | null;
}

/**
 * An agent had not connected when its time was up, `took` after its creation; it may have connected since. id: the agent. `at`: when
 * its time was up.
 */
export interface Overdue extends Common {
  readonly kind: "overdue";
  readonly took: Micros;
  readonly names: AgentNames;
}

/** A template, or one of its presets, can be built: its series exist at 0 from here on. id: the template or the preset. */
export interface Offered extends Common {
  readonly kind: "offered";
  readonly names: Names;
}

/**
 * All agents of a build that starts a workspace (without sub-agents) are ready, or have failed to be. id: the job. `at`: by the last
 * agent's own clock. `took`: from the build's creation; negative where that clock is behind coderd's.
 */
export interface Ready extends Common, OfBuild {
  readonly kind: "ready";
  readonly status: StartStatus;
  readonly took: Micros;
}

export type Fact =
  | Attempted
  | Created
  | Deleted
  | Ended
  | Connected
  | Offered
  | Started
  | Ran
  | Ready
  | Overdue;
export type FactKind = Fact["kind"];

/** In the order of the ledger's numbers for them. */
export const FACTS = [
  "attempted",
  "ended",
  "connected",
  "offered",
  "created",
  "deleted",
  "started",
  "ran",
  "ready",
  "overdue",
] as const satisfies readonly FactKind[];

/** A record with an entry for each kind of fact. */
export function perFact<T>(make: () => T): Record<FactKind, T> {
  return Object.fromEntries(FACTS.map((kind) => [kind, make()])) as Record<FactKind, T>;
}

/** Without a status where its agents have shut down since, so that their rows no longer tell how the start went. */
export interface SeenReady {
  readonly kind: "ready";
  readonly id: Uuid;
  readonly at: Micros;
  readonly took: Micros;
  readonly status?: StartStatus;
}

/** What the tables say *now* about an id that may be counted already; the ledger decides whether that differs. */
export type Sighting =
  | { readonly kind: "attempted"; readonly id: Uuid; readonly at: Micros }
  | ({ readonly kind: "ended" | "ran"; readonly id: Uuid; readonly at: Micros } & Ending)
  /** Another build, or the same one at another time. */
  | {
      readonly kind: "created" | "deleted";
      readonly id: Uuid;
      readonly at: Micros;
      readonly number: number;
    }
  | {
      readonly kind: "connected" | "started" | "overdue";
      readonly id: Uuid;
      readonly at: Micros;
      readonly took: Micros;
    }
  | SeenReady
  /** The row has no final time any more; of `overdue`: it says that the agent connected in time, or that it may take any time. */
  | { readonly kind: FactKind; readonly id: Uuid; readonly at: null }
  | { readonly kind: FactKind; readonly id: Uuid; readonly gone: true };
