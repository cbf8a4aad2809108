// How much WAL a heartbeat writes, with and without what a logical follower needs.

import { readFile } from "node:fs/promises";
import pg from "pg";
import { createCoderSchema } from "../../../../src/demo/coder/schema.ts";
import { startServer } from "../../../../src/demo/server.ts";
import { must } from "../../../../src/errors.ts";

const ROWS = new URL("../../../scale/deployment.sql", import.meta.url);
const BEATS = new URL("wal.sql", import.meta.url);
const WORKSPACES = 50;

export const WHAT = ["agents", "jobs"] as const;

export interface Written {
  readonly walLevel: string;
  /** Bytes per heartbeat, by what lives. */
  readonly bytes: Readonly<Record<(typeof WHAT)[number], number>>;
  /** Share of the updates that were heap-only, as they are on a table with room in its pages. */
  readonly heapOnly: number;
}

export async function walPerHeartbeat(walLevel: string, count: number): Promise<Written> {
  await using server = await startServer({
    settings: {
      wal_level: walLevel,
      fsync: "off",
      full_page_writes: "off",
      checkpoint_timeout: "1h",
      autovacuum: "off",
    },
  });
  const client = new pg.Client(server.url());
  await client.connect();
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => client.end());
  await createCoderSchema(client);
  for (const table of ["workspace_agents", "provisioner_jobs"]) {
    await client.query(`alter table ${table} set (fillfactor = 50)`);
  }
  await client.query(
    `set session_replication_role = replica; set scale.workspaces = ${WORKSPACES}`,
  );
  await client.query(await readFile(ROWS, "utf8"));
  await client.query("vacuum (freeze, analyze)");
  await client.query("checkpoint");
  const bytes = { agents: 0, jobs: 0 };
  for (const what of WHAT) bytes[what] = await written(client, what, count);
  return { walLevel, bytes, heapOnly: await heapOnly(client) };
}

async function written(client: pg.Client, what: string, count: number): Promise<number> {
  await client.query(`set bench.what = ${what}; set bench.count = ${count}`);
  const text = await readFile(BEATS, "utf8");
  const before = await position(client);
  await client.query(text);
  return ((await position(client)) - before) / count;
}

async function position(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>(
    "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn as bytes",
  );
  return Number(must(rows[0], "no position").bytes);
}

async function heapOnly(client: pg.Client): Promise<number> {
  await client.query("select pg_stat_force_next_flush()");
  const { rows } = await client.query<{ share: number }>(
    "select sum(n_tup_hot_upd)::float8 / sum(n_tup_upd) as share from pg_stat_user_tables where n_tup_upd > 0",
  );
  return must(rows[0], "no statistics").share;
}
