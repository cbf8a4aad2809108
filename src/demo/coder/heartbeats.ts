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
  if (agents.some((agent) => agent.firstConnectedAt === null)) throw new Error("an agent has not connected");
  const chunk = Math.max(CHUNK - (CHUNK % perTransaction), perTransaction);
  for (let sent = 0; sent < count; sent += chunk) {
    signal?.throwIfAborted();
    await replica.send([loop(replica, { agents, from: sent, to: Math.min(sent + chunk, count), perTransaction })]);
  }
}

function loop(
  replica: Replica,
  options: { agents: readonly Agent[]; from: number; to: number; perTransaction: number },
): Sql {
  const { agents, from, to, perTransaction } = options;
  const times = (pick: (agent: Agent) => number | null): string =>
    `{${agents.map((agent) => `"${time(pick(agent)) ?? ""}"`.replace('""', "null")).join(",")}}`;
  const set = sql`first_connected_at = firsts[agent], last_connected_at = beat, updated_at = beat,
            last_connected_replica_id = ${replica.id}, disconnected_at = disconnects[agent]`;
  // Asynchronous commits, except for the last one, which makes all of them durable. Within one transaction a row is found
  // again by its place: by id, every UPDATE would walk past all versions before it (100,000 on 57 agents took 83 s). And
  // foreign keys are checked again for a row that its own transaction has written (1,000,000 took 256 s), hence `replica`.
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
      perform set_config('session_replication_role', ${perTransaction > 1 ? "replica" : "origin"}, false);
      for i in ${from} + 1 .. ${to} loop
        agent := 1 + i % ${agents.length};
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
