// Starts: from a build's creation until all its agents are ready, or have failed to be. Agents come with the end of their build, in
// one transaction, so the set is whole before any of them starts.

import type { AgentRow, Uuid } from "../change/row.ts";
import { type Micros, clamped } from "../change/micros.ts";
import { type AgentStart, type StartStatus, startOf } from "../change/start.ts";
import type { Lsn } from "../lsn.ts";
import type { OfBuild, Ready, SeenReady, Sighting } from "./fact.ts";
import type { PendingStart, StartingAgent, State } from "./state.ts";
import { isAmong, withAgent } from "./growing.ts";
import { NOTHING, type Outcome } from "./outcome.ts";
import type { AgentEvent } from "./step.ts";

/** A start as the tables tell it, with all its agents but sub-agents. */
export interface ToldStart {
  readonly job: Uuid;
  /** Of the build. */
  readonly createdAt: Micros;
  readonly agents: readonly StartingAgent[];
}

/**
 * What one agent's row says of its build's start. Those of tables come in no order: all of a build's are put together first
 * (`Unordered`), and go through `startTold`.
 */
export function stepStart(state: State, event: AgentEvent): Outcome {
  const { row } = event;
  if (row.parent !== null || event.fromTables) return NOTHING;
  return row.isNew ? born(state, event) : goesOn(state, event);
}

/** One more agent to wait for. It is never the one that completes a start: others of its build may still be told. */
function born(state: State, { row, times }: AgentEvent): Outcome {
  if (times === null) return NOTHING;
  const { job, createdAt } = times;
  const pending = state.pendingStart(job);
  if ((pending && isAmong(pending, row.id)) || state.known("ready", job)) return NOTHING;
  const start = pending ?? newStart(state, { job, createdAt, agents: [] });
  if (!start) return NOTHING;
  return { ...NOTHING, put: [withAgent(start, { id: row.id, start: startOf(row) })] };
}

function goesOn(state: State, { row, end, start: now }: AgentEvent): Outcome {
  if (!now) return NOTHING;
  const pending = state.pendingStart(now.job);
  const known = state.known("ready", now.job);
  const sightings = known ? [seen(now)] : [];
  if (!pending) return { ...NOTHING, sightings };
  const agents = pending.agents.map((agent) => (agent.id === row.id ? later(agent, row) : agent));
  const outcome = waiting(pending, agents);
  const ready = known ? null : readyOf({ ...pending, agents }, end);
  // By now the tables may say something else: an agent starts again, or its start was late and is over.
  return ready ? { ...outcome, facts: [ready], sightings: [seen(now)] } : { ...outcome, sightings };
}

/** What the tables say of one start, over what the ledger has. */
export function startTold(ledger: State, told: ToldStart, end: Lsn): Outcome {
  const pending = ledger.pendingStart(told.job);
  const known = ledger.known("ready", told.job);
  const sightings = known ? [seen(told)] : [];
  if (known && !pending) return { ...NOTHING, sightings };
  const start = pending ?? newStart(ledger, told);
  if (!start) return NOTHING;
  const before = new Map(pending?.agents.map((agent) => [agent.id, agent.start]));
  const agents = told.agents.map(({ id, start: own }) => ({
    id,
    start: latest(before.get(id) ?? null, own),
  }));
  const ready = known ? null : readyOf({ ...start, agents }, end);
  const outcome = waits(agents)
    ? { ...NOTHING, put: [{ ...start, agents }] }
    : { ...NOTHING, drop: pending ? [pending] : [] };
  if (!ready) return { ...outcome, sightings };
  // What the ledger knew of an agent may be more than the tables say by now.
  return { ...outcome, facts: [ready], sightings: pending ? [seen(told)] : [] };
}

function seen(told: ToldStart): Sighting {
  return seenReady(told) ?? { kind: "ready", id: told.job, at: null };
}

/** What the tables say of a start that is over, as far as they still tell; null while it is not. */
export function seenReady({ job, createdAt, agents }: ToldStart): SeenReady | null {
  const over = overOf(agents);
  if (over === null) return null;
  const took = clamped(over.at - createdAt);
  const told = { kind: "ready", id: job, at: over.at, took } as const;
  return over.isCertain ? { ...told, status: over.status } : told;
}

/** Of a build that starts a workspace: those of other builds bring agents in older releases, too, but nobody runs these. */
function newStart(state: State, { job, createdAt, agents }: ToldStart): PendingStart | null {
  const build: OfBuild | undefined = state.pendingBuild(job) ?? state.ended(job);
  if (build?.traits.transition !== "start") return null;
  const { names, traits, workspace, number } = build;
  return { kind: "start", id: job, createdAt, names, traits, workspace, number, agents };
}

/** Told again, an older row changes nothing; that the agent starts once more does not, either. */
function later(agent: StartingAgent, row: AgentRow): StartingAgent {
  const start = latest(agent.start, startOf(row));
  return start === agent.start ? agent : { id: agent.id, start };
}

function latest(one: AgentStart | null, other: AgentStart | null): AgentStart | null {
  if (one === null || other === null) return one ?? other;
  return other.at > one.at ? other : one;
}

/** Whether any of them may still have news: a start that timed out may be over after all. */
function waits(agents: readonly StartingAgent[]): boolean {
  return agents.some(({ start }) => start === null || start.status === "timeout");
}

function waiting(pending: PendingStart, agents: readonly StartingAgent[]): Outcome {
  if (!waits(agents)) return { ...NOTHING, drop: [pending] };
  const changed = agents.some((agent, index) => agent !== pending.agents[index]);
  return changed ? { ...NOTHING, put: [{ ...pending, agents }] } : NOTHING;
}

function readyOf(start: PendingStart, end: Lsn): Ready | null {
  const over = overOf(start.agents);
  if (over === null) return null;
  const { id, createdAt, names, traits, workspace, number } = start;
  const { at, status } = over;
  // Two clamped times can be further apart than any duration that the store holds.
  const took = clamped(at - createdAt);
  return { kind: "ready", id, at, end, took, status, names, traits, workspace, number };
}

interface Over {
  readonly at: Micros;
  /** As Coder's own query has it: what the rows no longer tell was well. */
  readonly status: StartStatus;
  /** Whether they tell it. */
  readonly isCertain: boolean;
}

/** When the last of them was over, and the worst of how; null while one is not, or where there is none. */
function overOf(agents: readonly StartingAgent[]): Over | null {
  const starts = agents.flatMap(({ start }) => start ?? []);
  if (starts.length === 0 || starts.length < agents.length) return null;
  const at = starts.reduce((last, start) => Math.max(last, start.at), -Number.MAX_SAFE_INTEGER);
  const any = (status: StartStatus | null): boolean =>
    starts.some((start) => start.status === status);
  const status = any("error") ? "error" : any("timeout") ? "timeout" : "success";
  return { at, status, isCertain: status === "error" || !any(null) };
}
