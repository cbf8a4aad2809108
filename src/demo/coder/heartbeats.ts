// Very many heartbeats at once, for load: the UPDATE of `agentConnection` in a loop on the server, which commits as it goes.

import type { Agent } from "./model.ts";
import type { Replica } from "./replica.ts";
import { list, sql, time, type Sql } from "./sql.ts";

export interface HeartbeatOptions {
  readonly agents: readonly Agent[];
  /** How many UPDATEs in all. */
  readonly count: number;
  /** UPDATEs per transaction. Default 1, as Coder does. */
  readonly perTransaction?: number;
  readonly signal?: AbortSignal;
}

/** UPDATEs per statement sent, so that an abort is noticed. One transaction is never split. */
const CHUNK = 50_000;

/** Writes `count` heartbeats, in turn for each agent. All of them are durable when it resolves. */
export async function heartbeatLoad(replica: Replica, options: HeartbeatOptions): Promise<void> {
  const { agents, count, perTransaction = 1, signal } = options;
  if (agents.some((agent) => agent.firstConnectedAt === null))
    throw new Error("an agent has not connected");
  const chunk = Math.max(CHUNK - (CHUNK % perTransaction), perTransaction);
  for (let sent = 0; sent < count; sent += chunk) {
    signal?.throwIfAborted();
    await replica.send([
      loop(replica, { agents, from: sent, to: Math.min(sent + chunk, count), perTransaction }),
    ]);
  }
}

function loop(
  replica: Replica,
  options: { agents: readonly Agent[]; from: number; to: number; perTransaction: number },
): Sql {
  const { agents, from, to, perTransaction } = options;
  const times = (pick: (agent: Agent) => number | null): string =>
    `{${agents.map((agent) => (pick(agent) === null ? "null" : `"${time(pick(agent))}"`)).join(",")}}`;
  const set = sql`first_connected_at = firsts[agent], last_connected_at = beat, updated_at = beat,
            last_connected_replica_id = ${replica.id}, disconnected_at = disconnects[agent]`;
  // Asynchronous commits, except for the last one, which makes all of them durable. A transaction that writes the same rows
  // again and again needs help, or its cost is quadratic (a million took minutes): it finds a row by its place, not by walking
  // past all versions; it stays with an agent while the page has room, so that indexes do not grow; and foreign keys, which
  // are checked again for rows that their own transaction has written, are off.
  const large = perTransaction > 1;
  const body = sql`declare
      ids uuid[] := ${list(agents.map((agent) => agent.id))};
      firsts timestamptz[] := ${times((agent) => agent.firstConnectedAt)};
      disconnects timestamptz[] := ${times((agent) => agent.disconnectedAt)};
      started timestamptz := ${time(replica.now())};
      places tid[] := '{}';
      place tid;
      beat timestamptz;
      agent integer;
    begin
      perform set_config('synchronous_commit', 'off', false);
      perform set_config('session_replication_role', ${large ? "replica" : "origin"}, false);
      for i in ${from} + 1 .. ${to} loop
        agent := 1 + i / ${large ? 16 : 1} % ${agents.length};
        beat := started + i * interval '1 microsecond';
        place := places[agent];
        if place is null then
          update workspace_agents set ${set} where id = ids[agent] returning ctid into strict place;
        else
          update workspace_agents set ${set} where ctid = place returning ctid into strict place;
        end if;
        if i % ${perTransaction} > 0 then
          places[agent] := place;
        elsif i < ${to} then
          commit;
          places := '{}';
        end if;
      end loop;
      perform set_config('synchronous_commit', 'on', false);
      perform set_config('session_replication_role', 'origin', false);
    end`;
  return sql`do ${body.text}`;
}
