// What the workload must add up to, written down while it is made and read from no table: a second, independent oracle.
// The first final state of a job and the first connection of an agent stand; later ones make the id divergent.

import type { Micros } from "../../change/micros.ts";
import { PREBUILDS_USER, type Uuid } from "../../change/row.ts";
import { must } from "../../errors.ts";
import type { Agent, Build, Job, JobType, Stage } from "./model.ts";

/** Names at the time of the row's commit: a rename a moment later may or may not be what a reader saw. */
export interface BuildNames {
  readonly organization: string;
  readonly template: string;
  /** `''` when the build has no preset. */
  readonly preset: string;
}

export interface ExpectedBuild {
  readonly id: Uuid;
  readonly job: Uuid;
  readonly workspace: Uuid;
  readonly number: number;
  readonly transition: string;
  readonly initiator: Uuid;
  readonly reason: string;
  readonly preset: Uuid | null;
  readonly stage: Stage;
  readonly createdAt: Micros;
  /** Build 1, a start, by anyone but the prebuilds user: an attempt. */
  readonly first: boolean;
  readonly names: BuildNames;
}

export type End =
  | { readonly status: "success" | "canceled" }
  | {
      readonly status: "failure";
      readonly stage: "queue" | "provisioner";
      /** Coder's code, else `user_canceled`, else `other`. */
      readonly errorCode: string;
    };

export interface ExpectedEnd {
  readonly job: Uuid;
  readonly type: JobType;
  /** Null for import and dry-run jobs. */
  readonly build: Uuid | null;
  readonly startedAt: Micros | null;
  readonly completedAt: Micros;
  readonly end: End;
}

export interface AgentNames {
  readonly template: string;
  readonly agent: string;
  readonly username: string;
  readonly workspace: string;
}

export interface ExpectedAgent {
  readonly id: Uuid;
  readonly build: Uuid;
  readonly parent: Uuid | null;
  readonly createdAt: Micros;
  /** How long it may take to connect; 0: any time. */
  readonly timeout: Micros;
  readonly names: AgentNames;
  /** First connection minus creation; negative when the clocks disagree, null while it has not connected. */
  readonly took: Micros | null;
}

/** When the last agent of a start was ready, or had failed to be, and the worst of how that went. */
export interface ExpectedStart {
  readonly job: Uuid;
  readonly readyAt: Micros;
  /** From the build's creation. */
  readonly took: Micros;
  readonly status: "success" | "timeout" | "error";
}

/** An id whose rows no longer say what they said when its first final fact was committed. */
export interface Divergence {
  readonly kind: "ended" | "connected";
  readonly id: Uuid;
  readonly why: "reaped_then_completed" | "completed_twice" | "overlapping_connections";
}

export interface Expected {
  /** Every workspace build, by build id. */
  readonly builds: ReadonlyMap<Uuid, ExpectedBuild>;
  /** The first end of every job that has ended, by job id. */
  readonly ends: ReadonlyMap<Uuid, ExpectedEnd>;
  /** Every agent of a workspace build, by agent id. Agents of import and dry-run jobs never connect and are left out. */
  readonly agents: ReadonlyMap<Uuid, ExpectedAgent>;
  /** The attempts: first builds. */
  readonly attempted: readonly ExpectedBuild[];
  /** The ends of attempts. The attempts that are not here are in flight. */
  readonly outcomes: readonly ExpectedEnd[];
  /** The agents that have connected, those with a negative duration too. */
  readonly connected: readonly (ExpectedAgent & { readonly took: Micros })[];
  readonly divergent: readonly Divergence[];
  /** The starts that were over, by job: as they were first. */
  readonly starts: ReadonlyMap<Uuid, ExpectedStart>;
  /** Jobs of starts of which an agent was ready late, or started once more: which Coder does all day. */
  readonly rewritten: ReadonlySet<Uuid>;
  /** Jobs of starts of which an agent has shut down since, so that its row no longer tells how it went. */
  readonly shutDown: ReadonlySet<Uuid>;
}

type Over = Pick<ExpectedStart, "readyAt" | "status">;

const STATUS: Readonly<Record<string, ExpectedStart["status"]>> = {
  ready: "success",
  start_timeout: "timeout",
  start_error: "error",
};
const WORST_FIRST = ["error", "timeout", "success"] as const;

export class Tally {
  readonly #builds = new Map<Uuid, ExpectedBuild>();
  readonly #ends = new Map<Uuid, ExpectedEnd>();
  readonly #agents = new Map<Uuid, ExpectedAgent>();
  readonly #divergent: Divergence[] = [];
  /** By job, then by agent: how its start ended; null while it has not. */
  readonly #starting = new Map<Uuid, Map<Uuid, Over | null>>();
  readonly #starts = new Map<Uuid, ExpectedStart>();
  readonly #rewritten = new Set<Uuid>();
  readonly #shutDown = new Set<Uuid>();

  inserted(build: Build): void {
    const { workspace } = build;
    this.#builds.set(build.id, {
      id: build.id,
      job: build.job.id,
      workspace: workspace.id,
      number: build.number,
      transition: build.transition,
      initiator: build.initiator,
      reason: build.reason,
      preset: build.preset?.id ?? null,
      stage: build.stage,
      createdAt: build.createdAt,
      first:
        build.number === 1 && build.transition === "start" && build.initiator !== PREBUILDS_USER,
      names: {
        organization: workspace.template.organization.name,
        template: workspace.template.name,
        preset: build.preset?.name ?? "",
      },
    });
  }

  /** A job's `completed_at` was committed. Only the first time counts. */
  ended(
    job: Job,
    how: { build: Build | null; at: Micros; failed: boolean; errorCode: string | null },
  ): void {
    if (this.#ends.has(job.id)) return;
    this.#ends.set(job.id, {
      job: job.id,
      type: job.type,
      build: how.build?.id ?? null,
      startedAt: job.startedAt,
      completedAt: how.at,
      end: endOf(job, how),
    });
  }

  born(agent: Agent): void {
    const { workspace, job, transition } = agent.build;
    if (transition === "start" && agent.parent === null) {
      const agents = this.#starting.get(job.id) ?? new Map<Uuid, Over | null>();
      this.#starting.set(job.id, agents.set(agent.id, null));
    }
    this.#agents.set(agent.id, {
      id: agent.id,
      build: agent.build.id,
      parent: agent.parent,
      createdAt: agent.createdAt,
      timeout: agent.timeout,
      names: {
        template: workspace.template.name,
        agent: agent.name,
        username: workspace.owner.username,
        workspace: workspace.name,
      },
      took: null,
    });
  }

  /** An agent's `first_connected_at` was committed. Only the first time counts. */
  connected(agent: Agent, at: Micros): void {
    const known = must(this.#agents.get(agent.id), "an unknown agent connected");
    if (known.took === null) this.#agents.set(agent.id, { ...known, took: at - agent.createdAt });
  }

  /** An agent's lifecycle state was committed, with its `ready_at`. */
  lifecycle({ id, readyAt, build }: Agent, state: string): void {
    const job = build.job.id;
    const agents = this.#starting.get(job);
    const before = agents?.get(id);
    if (!agents || before === undefined) return;
    if (state === "shutting_down") this.#shutDown.add(job);
    const status = STATUS[state];
    if (before !== null && (state === "starting" || status)) this.#rewritten.add(job);
    if (!status || readyAt === null || readyAt <= (before?.readyAt ?? -Infinity)) return;
    agents.set(id, { readyAt, status });
    const over = [...agents.values()].flatMap((each) => each ?? []);
    if (over.length < agents.size || this.#starts.has(job)) return;
    const last = Math.max(...over.map((each) => each.readyAt));
    const worst = WORST_FIRST.find((each) => over.some((one) => one.status === each));
    this.#starts.set(job, {
      job,
      readyAt: last,
      took: last - build.createdAt,
      status: must(worst, "a start without a status"),
    });
  }

  diverged(divergence: Divergence): void {
    this.#divergent.push(divergence);
  }

  /** A copy of everything so far. */
  expected(): Expected {
    const builds = new Map(this.#builds);
    const agents = new Map(this.#agents);
    const attempted = [...builds.values()].filter((build) => build.first);
    return {
      builds,
      ends: new Map(this.#ends),
      agents,
      attempted,
      outcomes: attempted.flatMap((build) => this.#ends.get(build.job) ?? []),
      connected: [...agents.values()].flatMap((agent) =>
        agent.took === null ? [] : [{ ...agent, took: agent.took }],
      ),
      divergent: [...this.#divergent],
      starts: new Map(this.#starts),
      rewritten: new Set(this.#rewritten),
      shutDown: new Set(this.#shutDown),
    };
  }
}

function endOf(job: Job, how: { failed: boolean; errorCode: string | null }): End {
  const canceled = job.canceledAt !== null;
  if (!how.failed) return { status: canceled ? "canceled" : "success" };
  return {
    status: "failure",
    stage: job.worker === null ? "queue" : "provisioner",
    errorCode: how.errorCode ?? (canceled ? "user_canceled" : "other"),
  };
}
