// First light: how long a start took until its agent was there, in parts that add up.

import type { AgentRow, Uuid } from "../change/row.ts";
import { type Micros, clamped } from "../change/micros.ts";
import type { Light, OfBuild } from "./fact.ts";

/** Which build brought an agent, and how far it had come when the agent was looked up. */
export interface BuildTimes {
  readonly workspace: Uuid;
  readonly job: Uuid;
  /** Coder's word for what the build does. */
  readonly transition: string;
  readonly createdAt: Micros;
  /** When a provisioner took the job; null when none did. */
  readonly startedAt: Micros | null;
  readonly completedAt: Micros | null;
}

/** In the order in which they pass, the whole last. */
export const PHASES = ["queue", "provision", "connect", "total"] as const;
export type Phase = (typeof PHASES)[number];

/**
 * What is known of it when the agent is first seen: by then its job has ended. Null for agents that no start brought, for
 * sub-agents, and where no provisioner had the job or the ledger has no end of it, and so does not know what the build was.
 */
export function lightOf(
  build: Pick<OfBuild, "traits"> | undefined,
  row: Pick<AgentRow, "parent">,
  times: BuildTimes | null,
): Light | null {
  if (row.parent !== null || times === null) return null;
  const { createdAt, startedAt, completedAt } = times;
  if (startedAt === null || completedAt === null) return null;
  if (build?.traits.transition !== "start") return null;
  const { traits } = build;
  const queued = clamped(startedAt - createdAt);
  return { traits, queued, provisioned: clamped(completedAt - startedAt), completedAt };
}

/** The parts of the way, once an agent has connected at this time. The first three add up to the last. */
export function phasesOf(
  { queued, provisioned, completedAt }: Light,
  connectedAt: Micros,
): Readonly<Record<Phase, Micros>> {
  const connect = clamped(connectedAt - completedAt);
  const total = clamped(queued + provisioned + connect);
  return { queue: queued, provision: provisioned, connect, total };
}
