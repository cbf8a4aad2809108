// Enough rows that reading them takes a second or so: very many agents, which make a few series and many facts.

import type pg from "pg";

const AGENTS = 60_000;

/** Repeats an agent that has connected, in a deployment that has one. */
export async function manyAgents(client: pg.Client): Promise<void> {
  // Coder's trigger wants another name for each agent of a build, which would be a series for each.
  await client.query("set session_replication_role = replica");
  await client.query(
    `insert into workspace_agents (id, created_at, updated_at, name, first_connected_at, resource_id,
       auth_token, architecture, operating_system)
     select gen_random_uuid(), created_at, updated_at, name, first_connected_at + n * interval '1 millisecond',
       resource_id, gen_random_uuid(), architecture, operating_system
     from (select * from workspace_agents where first_connected_at > created_at limit 1) as one,
       generate_series(1, $1) as n`,
    [AGENTS],
  );
  await client.query("reset session_replication_role");
}
