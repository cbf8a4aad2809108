// What the server knows about its own size and pace, for an estimate: its statistics and its WAL, no row is read.

import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { must } from "../../errors.ts";
import { CODER_SCHEMA } from "../publication.ts";
import type { Session } from "../session.ts";
import { WAL_END } from "../slot.ts";
import { saidBy } from "./diagnosis.ts";

/** Tables by whose rows all else is estimated. */
export const SIZED = [
  "organizations",
  "provisioner_jobs",
  "template_version_presets",
  "template_versions",
  "templates",
  "workspace_agents",
  "workspace_builds",
  "workspaces",
] as const;
export type Sized = (typeof SIZED)[number];

/** Rows by the statistics of the server; null: there is no such table. */
export type Rows = Readonly<Record<Sized, number | null>>;

const ROWS = `
  select wanted.name, greatest(0, case when c.reltuples < 0 then stat.n_live_tup else c.reltuples end)::float8 as rows
  from unnest($1::text[]) as wanted (name)
  left join pg_catalog.pg_namespace as s on s.nspname = $2
  left join pg_catalog.pg_class as c on c.relnamespace = s.oid and c.relname = wanted.name
  left join pg_catalog.pg_stat_all_tables as stat on stat.relid = c.oid`;

export async function rowsOfTables(session: Session): Promise<Rows> {
  const rows = await session.query<{ name: Sized; rows: number | null }>(ROWS, [
    SIZED,
    CODER_SCHEMA,
  ]);
  return Object.fromEntries(rows.map(({ name, rows: n }) => [name, n])) as Rows;
}

/** The share of workspaces that are deleted, by the statistics; null: not known to this role, or never analysed. */
export async function deletedShare(session: Session): Promise<number | null> {
  const [row] = await session.query<{ share: number | null }>(
    `select frequency::float8 as share from pg_catalog.pg_stats
     cross join lateral unnest(most_common_vals::text::text[], most_common_freqs) as common (value, frequency)
     where schemaname = $1 and tablename = 'workspaces' and attname = 'deleted' and value = 't'`,
    [CODER_SCHEMA],
  );
  return row?.share ?? null;
}

export interface Pace {
  readonly walLevel: string;
  /** All of the server's WAL, in bytes a second. */
  readonly wal: number;
  /** UPDATEs of the published tables a second: heartbeats, nearly all. */
  readonly updates: number;
  readonly seconds: number;
}

const PACE = `
  select pg_catalog.current_setting('wal_level') as "walLevel",
    extract(epoch from pg_catalog.clock_timestamp())::float8 as at,
    pg_catalog.pg_wal_lsn_diff(${WAL_END}::pg_lsn, '0/0')::float8 as position,
    (select coalesce(sum(n_tup_upd), 0)::float8 from pg_catalog.pg_stat_all_tables
     where schemaname = $1 and relname in ('workspace_agents', 'workspace_builds', 'provisioner_jobs')) as updates`;

/** Watches for so many milliseconds. */
export async function paceOf(
  session: Session,
  { measureMs, signal }: { readonly measureMs: number; readonly signal: AbortSignal },
): Promise<Pace> {
  const now = async () => {
    const rows = await session.query<{
      walLevel: string;
      at: number;
      position: number;
      updates: number;
    }>(PACE, [CODER_SCHEMA]);
    return must(rows[0], "no pace");
  };
  const before = await now();
  await sleep(measureMs, undefined, { signal });
  const after = await now();
  const seconds = after.at - before.at;
  return {
    walLevel: after.walLevel,
    wal: Math.max(0, after.position - before.position) / seconds,
    updates: Math.max(0, after.updates - before.updates) / seconds,
    seconds,
  };
}

/** What coderd's own collectors cost this database. */
export type Polling =
  | { readonly kind: "unknown"; readonly why: string }
  | { readonly kind: "measured"; readonly calls: number; readonly seconds: number };

/**
 * How coderd's collectors are told: up to Postgres 17 by the name that coderd sends in a comment before the query; 18 keeps the text
 * from its first word on, so there by names of columns that no other query of coderd's has.
 */
const POLLED = [
  "-- name: (GetPrebuildMetrics|GetRegularWorkspaceCreateMetrics|GetWorkspaceAgentsForMetrics|GetWorkspacesForWorkspaceMetrics) ",
  "claimed_count",
  "owner_username.*template_version_name.*workspace_agents",
].join("|");

export async function pollingOf(session: Session): Promise<Polling> {
  const [extension] = await session.query<{ schema: string }>(
    `select s.nspname as schema from pg_catalog.pg_extension as e
     join pg_catalog.pg_namespace as s on s.oid = e.extnamespace where e.extname = 'pg_stat_statements'`,
  );
  if (extension === undefined)
    return { kind: "unknown", why: "pg_stat_statements is not installed in this database" };
  try {
    const [row] = await session.query<{ calls: number; seconds: number; hidden: boolean }>(
      `select coalesce(sum(calls) filter (where query ~ $1), 0)::float8 as calls,
         coalesce(sum(total_exec_time) filter (where query ~ $1), 0)::float8 / 1000 as seconds,
         coalesce(bool_or(queryid is null), false) as hidden
       from ${pg.escapeIdentifier(extension.schema)}.pg_stat_statements as s
       where s.dbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())`,
      [POLLED],
    );
    const { calls, seconds, hidden } = must(row, "no statements");
    if (calls > 0) return { kind: "measured", calls, seconds };
    const why = hidden
      ? "this role may not see other roles' statements (pg_read_all_stats lets it)"
      : "pg_stat_statements has none of coderd's queries that could be told";
    return { kind: "unknown", why };
  } catch (error) {
    const said = saidBy(error);
    if (said === null) throw error;
    return { kind: "unknown", why: said.message };
  }
}
