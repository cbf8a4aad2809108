// Agents that had not connected when their time was up: coderd's status `timeout` (coderd/database/modelmethods.go), kept.
//
// It is judged by the rows' own times, coderd's. That the time is up is seen by another clock, which only decides when it is told.

import { type Micros, SECOND, clamped } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { Lsn } from "../lsn.ts";
import type { AgentNames, Overdue } from "./fact.ts";
import { NOTHING, type Outcome } from "./outcome.ts";
import type { PendingAgent, State } from "./state.ts";
import type { AgentEvent } from "./step.ts";

/**
 * So long after its time is up an agent is told overdue: its connection may be on its way, or be told by another clock. Coder
 * itself takes an agent for connected that was silent for so long (twice its heartbeat).
 */
export const GRACE: Micros = 30 * SECOND;

/** An agent's time is up, and so is the grace, in all that was read: not news of the stream, but of the time that it has reached. */
export interface DueRow {
  readonly kind: "due";
  readonly id: Uuid;
}

/** What an agent's row says of the time that it was given. That it waits for longer is for `stepDue` to tell. */
export function stepOverdue(
  state: State,
  event: AgentEvent,
  pending: PendingAgent | undefined,
): Outcome {
  const { row, names, end, limit, fromTables } = event;
  const timeout = (fromTables ? undefined : pending?.timeout) ?? limit?.timeout ?? null;
  if (state.known("overdue", row.id)) return toldBefore(state, event, timeout);
  if (row.firstConnectedAt === null || timeout === null) return NOTHING;
  const at = clamped(row.createdAt + timeout);
  if (row.firstConnectedAt <= at) return NOTHING;
  // The first connection that was counted is the one that was late, or not.
  const counted = pending ? undefined : state.fact("connected", row.id);
  if (counted && counted.at <= at) return NOTHING;
  const frozen = pending?.names ?? counted?.names ?? names;
  return frozen === null ? NOTHING : told({ id: row.id, at, end, took: timeout, names: frozen });
}

/** Told, and then its row says that it connected in time: a commit that took longer than the grace, or clocks that disagree. */
function toldBefore(state: State, event: AgentEvent, timeout: Micros | null): Outcome {
  const { row, fromTables } = event;
  // A row of before it connected says no more than was known.
  if (row.firstConnectedAt === null && !fromTables) return NOTHING;
  const { id } = row;
  const known = timeout === null && !fromTables ? state.fact("overdue", id) : undefined;
  const took = timeout ?? known?.took ?? null;
  const at = known?.at ?? (took === null ? null : clamped(row.createdAt + took));
  const inTime = at === null || (row.firstConnectedAt ?? Number.POSITIVE_INFINITY) <= at;
  if (took === null || at === null || inTime)
    return { ...NOTHING, sightings: [{ kind: "overdue", id, at: null }] };
  return { ...NOTHING, sightings: [{ kind: "overdue", id, at, took }] };
}

/** An agent that still waits is overdue. */
export function stepDue(state: State, { id }: DueRow, end: Lsn): Outcome {
  const pending = state.pendingAgent(id);
  if (!pending || pending.timeout === null || pending.due === null) return NOTHING;
  const { createdAt, timeout, names } = pending;
  const at = clamped(createdAt + timeout);
  return { ...told({ id, at, end, took: timeout, names }), put: [{ ...pending, due: null }] };
}

/** The row of an agent is gone: it will not be overdue. */
export function stepGoneAgent(state: State, id: Uuid): Outcome {
  const pending = state.pendingAgent(id);
  return {
    ...NOTHING,
    sightings: [
      { kind: "connected", id, gone: true },
      { kind: "overdue", id, gone: true },
    ],
    put: pending && pending.due !== null ? [{ ...pending, due: null }] : [],
  };
}

function told(fact: {
  readonly id: Uuid;
  readonly at: Micros;
  readonly end: Lsn;
  readonly took: Micros;
  readonly names: AgentNames;
}): Outcome {
  const overdue: Overdue = { kind: "overdue", ...fact };
  return { ...NOTHING, facts: [overdue] };
}
