// Agents of one build are told one after the other, and nothing says how many there are: a copy of the list for each would cost
// as much as the square of their number. So a longer list shares what it has in common with the one before.

import type { Uuid } from "../change/row.ts";
import type { PendingStart, StartingAgent } from "./state.ts";

/** A list that several starts are beginnings of, and where each agent is in it. Only ever appended to. */
interface Shared {
  readonly agents: StartingAgent[];
  readonly places: Map<Uuid, number>;
}

/** Which beginning of a shared list a start has. */
const beginnings = new WeakMap<
  PendingStart,
  { readonly shared: Shared; readonly length: number }
>();

function beginningOf(start: PendingStart): { readonly shared: Shared; readonly length: number } {
  const known = beginnings.get(start);
  if (known) return known;
  const shared = sharedOf([...start.agents]);
  const beginning = { shared, length: shared.agents.length };
  beginnings.set(start, beginning);
  return beginning;
}

export function isAmong(start: PendingStart, agent: Uuid): boolean {
  const { shared, length } = beginningOf(start);
  return (shared.places.get(agent) ?? length) < length;
}

/** The same start with one more agent, which is not among its own. Its list is made when it is asked for. */
export function withAgent(start: PendingStart, agent: StartingAgent): PendingStart {
  const { shared: before, length } = beginningOf(start);
  const isEnd = before.agents.length === length;
  const shared = isEnd ? before : sharedOf(before.agents.slice(0, length));
  shared.places.set(agent.id, length);
  shared.agents.push(agent);
  const { kind, id, createdAt, names, traits, workspace, number } = start;
  let made: readonly StartingAgent[] | undefined;
  const grown: PendingStart = {
    kind,
    id,
    createdAt,
    names,
    traits,
    workspace,
    number,
    get agents() {
      made ??= shared.agents.slice(0, length + 1);
      return made;
    },
  };
  beginnings.set(grown, { shared, length: length + 1 });
  return grown;
}

function sharedOf(agents: StartingAgent[]): Shared {
  return { agents, places: new Map(agents.map(({ id }, index) => [id, index])) };
}
