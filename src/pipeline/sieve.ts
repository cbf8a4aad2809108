// The sieve's memory beside the store: what waits there is known to it, from the beginning of a source and after each commit.

import type { Uuid } from "../change/row.ts";
import { begins, startOf } from "../change/start.ts";
import type { Waiting } from "../change/waiting.ts";
import type { Staged } from "../derive/staged.ts";
import type { State } from "../derive/state.ts";
import type { AgentEvent, Event } from "../derive/step.ts";
import type { Store } from "../store/store.ts";

/** The sieve of a new source knows everything that waits in the store. */
export function fillSieve(waiting: Waiting, store: Store): Waiting {
  for (const id of store.ledger.waiting("build")) waiting.addJob(id);
  // Whether one is being canceled is not stored: its next heartbeat says so once more.
  for (const id of store.ledger.waiting("job")) waiting.addRunning(id, false);
  for (const id of store.ledger.waiting("agent")) waiting.addAgent(id);
  for (const start of store.ledger.entities(["start"])) {
    for (const [id, waits] of waitingOf(start.kind === "start" ? start : undefined))
      if (waits === "late") waiting.addLate(id);
      else waiting.addStarting(id);
  }
  return waiting;
}

export interface Batched {
  readonly waiting: Waiting;
  readonly events: readonly Event[];
  readonly staged: Staged;
}

/**
 * What the sieve must forget of a batch, and learn, once it is committed: agents that connected, or are over with their start, and
 * new ones that will not be waited for. To be called before the commit: `before` is the state without the batch.
 */
export function settling(before: State, { waiting, events, staged }: Batched): () => void {
  const agents = events.filter(isAgentEvent);
  const starts = [...startsSettled(before, staged), ...bornForNothing(before, staged, agents)];
  return () => {
    for (const { row } of agents) {
      if (!row.isNew || row.firstConnectedAt !== null) continue;
      if (!staged.pendingAgent(row.id)) waiting.forgetAgent(row.id);
    }
    for (const entity of staged.drop) if (entity.kind === "agent") waiting.forgetAgent(entity.id);
    for (const [id, change] of starts) waiting[change](id);
    // In order: one that is over may begin once more in the same batch.
    for (const { row } of agents) {
      if (row.isNew) continue;
      if (begins(row)) waiting.startsAgain(row.id);
      else if (startOf(row) !== null) waiting.startedAgain(row.id);
    }
  };
}

type Change = readonly [agent: Uuid, change: "forgetStarting" | "addLate" | "forgetLate"];

/** Agents of starts that waited, or wait, otherwise than before. Those that begin to wait were told to the sieve by their INSERT. */
function startsSettled(before: State, staged: Staged): readonly Change[] {
  const jobs = [...staged.put, ...staged.drop].flatMap(({ kind, id }) =>
    kind === "start" ? [id] : [],
  );
  return jobs.flatMap((job) => {
    const had = waitingOf(before.pendingStart(job));
    const has = waitingOf(staged.pendingStart(job));
    const over = [...had].filter(([id, waits]) => has.get(id) !== waits);
    const late = [...has].filter(([id, waits]) => waits === "late" && had.get(id) !== waits);
    return [
      ...over.map(([id, was]): Change => [id, was === "late" ? "forgetLate" : "forgetStarting"]),
      ...late.map(([id]): Change => [id, "addLate"]),
    ];
  });
}

/** Agents whose INSERT told the sieve to wait for their start, though nobody does, or it was known already. */
function bornForNothing(
  before: State,
  staged: Staged,
  agents: readonly AgentEvent[],
): readonly Change[] {
  const [has, had] = [awaitedBy(staged), awaitedBy(before)];
  return agents
    .filter(({ row }) => row.isNew && row.parent === null)
    .filter((event) => !has(event) || had(event))
    .map(({ row }): Change => [row.id, "forgetStarting"]);
}

/** Whether an agent's start is waited for. Each build is asked for once: it may have thousands of agents. */
function awaitedBy(state: State): (event: AgentEvent) => boolean {
  const asked = new Map<Uuid, ReturnType<typeof waitingOf>>();
  return ({ row, times }) => {
    if (times === null) return false;
    const { job } = times;
    const waits = asked.get(job) ?? waitingOf(state.pendingStart(job));
    asked.set(job, waits);
    return waits.get(row.id) === "starting";
  };
}

/** The agents of a start that may have news. */
function waitingOf(
  start: ReturnType<State["pendingStart"]>,
): ReadonlyMap<Uuid, "starting" | "late"> {
  const waits = new Map<Uuid, "starting" | "late">();
  for (const agent of start?.agents ?? []) {
    if (agent.start === null) waits.set(agent.id, "starting");
    else if (agent.start.status === "timeout") waits.set(agent.id, "late");
  }
  return waits;
}

const isAgentEvent = (event: Event): event is AgentEvent => event.row.kind === "agent";
