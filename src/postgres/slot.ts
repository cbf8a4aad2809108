// Replication slots: looking at one, making the temporary one whose snapshot a baseline reads, and the permanent copy.

import pg from "pg";
import { NeedsOperator, must } from "../errors.ts";
import { type Lsn, formatLsn, parseLsn } from "../lsn.ts";
import { type Micros, timeOrNull } from "../change/micros.ts";
import { classify } from "./errors.ts";
import { type Session } from "./session.ts";
import {
  type Server,
  type System,
  identifySystem,
  openWalsender,
  serverOf,
  whichServer,
} from "./walsender.ts";

/** A slot as `pg_replication_slots` shows it. Columns that this server's version lacks are null. */
export interface SlotState {
  readonly plugin: string;
  readonly database: string;
  readonly activePid: number | null;
  /** It ends with the session that made it. */
  readonly temporary: boolean;
  readonly confirmed: Lsn;
  /** reserved, extended, unreserved or lost. */
  readonly walStatus: string;
  readonly invalidation: string | null;
  /** WAL that the slot holds back, in bytes. */
  readonly retainedBytes: number;
  /** WAL that may still be written before the slot is lost; null without a limit. */
  readonly safeBytes: number | null;
  readonly catalogXminAge: number | null;
}

interface SlotRecord {
  plugin: string;
  database: string;
  active_pid: number | null;
  temporary: boolean;
  confirmed_flush_lsn: string | null;
  wal_status: string | null;
  invalidation_reason?: string | null;
  conflicting?: boolean | null;
  synced?: boolean;
  standby: boolean;
  safe_wal_size: string | null;
  retained: string | null;
  catalog_xmin_age: number | null;
}

/** End of the WAL that is safe on disk; on a standby, that is replayed. As text. */
export const WAL_END = `(case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
  else pg_catalog.pg_current_wal_flush_lsn() end)::text`;

/**
 * The time before which everything that was committed lies before `WAL_END`, by the server's clock; on a standby that is the primary's,
 * as of the last commit that was replayed, and NULL before the first. As text. To be asked before the end is.
 */
export const WAL_TIME = `(case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_xact_replay_timestamp()
  else pg_catalog.clock_timestamp() end)::text`;

// `slot.*`: columns were added with nearly every version; those that are not there are simply undefined.
const SLOT = `
  select slot.*,
    pg_catalog.pg_wal_lsn_diff(
      case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
           else pg_catalog.pg_current_wal_lsn() end, slot.restart_lsn)::text as retained,
    pg_catalog.age(slot.catalog_xmin) as catalog_xmin_age,
    pg_catalog.pg_is_in_recovery() as standby
  from pg_catalog.pg_replication_slots as slot where slot.slot_name = $1`;

/**
 * The slot's state; null when there is none of this name. Throws `NeedsOperator` when it is not one of ours, or not ours to
 * use yet.
 */
export async function readSlot(session: Session, name: string): Promise<SlotState | null> {
  const [row] = await session.query<SlotRecord>(SLOT, [name]);
  if (!row) return null;
  const [here] = await session.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  if (row.plugin !== "pgoutput" || row.database !== here?.database) {
    throw new NeedsOperator(
      `the slot ${name} exists, but for ${row.plugin ?? "physical replication"} in database ${row.database ?? "(none)"}`,
      {
        reason: "slot_foreign",
        hint: "choose another name with --slot (FIRSTLIGHT_SLOT): this slot belongs to somebody else",
      },
    );
  }
  if (row.standby && row.synced) {
    throw new NeedsOperator(
      `the slot ${name} is synchronised from the primary, and can not be used before this standby is promoted`,
      {
        reason: "slot_synced",
        hint: "nothing is to be done if a failover is under way; else follow the primary, or choose another --slot: this standby then gets one of its own",
      },
    );
  }
  return {
    plugin: row.plugin,
    database: row.database,
    activePid: row.active_pid,
    temporary: row.temporary,
    confirmed: parseLsn(row.confirmed_flush_lsn ?? "0/0"),
    walStatus: row.wal_status ?? "lost",
    invalidation: row.invalidation_reason ?? (row.conflicting ? "conflict" : null),
    retainedBytes: Math.max(0, Number(row.retained ?? 0)),
    safeBytes: row.safe_wal_size === null ? null : Number(row.safe_wal_size),
    catalogXminAge: row.catalog_xmin_age,
  };
}

/** A temporary slot and the snapshot it exports. */
export interface Exported {
  readonly slot: string;
  /** The stream from this slot begins exactly where the snapshot ends. */
  readonly consistent: Lsn;
  /** For `set transaction snapshot`. */
  readonly name: string;
  readonly system: System;
  readonly server: Server;
  /** Everything that was committed before this time, by the server's clock, is in the snapshot; null: not known. */
  readonly at: Micros | null;
}

/** Both last until it is disposed; it runs no further command. */
export interface Snapshot extends Exported, AsyncDisposable {}

/** Opens a connection of its own and creates a temporary slot on it. Abort the wait with `signal`. Throws classed errors. */
export async function openSnapshot(options: {
  readonly clientConfig: pg.ClientConfig;
  readonly slot: string;
  readonly signal: AbortSignal;
}): Promise<Snapshot> {
  const { signal, slot } = options;
  await using stack = new AsyncDisposableStack();
  const { client } = stack.use(await openWalsender(options.clientConfig, { signal }));
  try {
    const exported = await exportSnapshot(client, slot);
    const connection = stack.move();
    return { ...exported, [Symbol.asyncDispose]: () => connection.disposeAsync() };
  } catch (error) {
    throw signal.aborted ? signal.reason : classify(error);
  }
}

/** Without this a server that works for us does not notice that we are gone. Some platforms lack it. */
export const CHECK_FOR_US =
  "select pg_catalog.set_config('client_connection_check_interval', '2s', false)";

/**
 * Creates a temporary slot with an exported snapshot; both last as long as this connection, and the snapshot's name only
 * until its next command. Waits for every transaction that is open now, on a standby for a running-xacts record.
 * `pg` directly, not the replication library: a temporary slot lives in the session that made it.
 */
export async function exportSnapshot(client: pg.Client, slot: string): Promise<Exported> {
  // Without this a server that waits does not notice that we are gone, and keeps the slot for as long. Some platforms lack it.
  await client.query(CHECK_FOR_US).catch(() => undefined);
  const system = await identifySystem(client);
  const server = await whichServer(client);
  const time = await client.query<{ at: string | null }>(`select ${WAL_TIME} as at`);
  const { rows } = await client.query<{ consistent_point: string; snapshot_name: string }>(
    `CREATE_REPLICATION_SLOT ${pg.escapeIdentifier(slot)} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT`,
  );
  const { consistent_point, snapshot_name } = must(rows[0], "CREATE_REPLICATION_SLOT gave no row");
  const at = timeOrNull(must(time.rows[0], "no time").at);
  return { slot, consistent: parseLsn(consistent_point), name: snapshot_name, system, server, at };
}

/**
 * Copies a slot, also one that is in use, to one at the same position. A temporary copy ends with the session, and only that session
 * can read it.
 */
export async function copySlot(
  session: Session,
  copy: { readonly from: string; readonly to: string; readonly temporary: boolean },
): Promise<void> {
  await session.query("select pg_catalog.pg_copy_logical_replication_slot($1, $2, $3)", [
    copy.from,
    copy.to,
    copy.temporary,
  ]);
}

/** Slots of this database that can be replayed, by name. */
export async function replayableSlots(session: Session): Promise<readonly string[]> {
  const rows = await session.query<{ name: string }>(
    `select slot_name as name from pg_catalog.pg_replication_slots
     where plugin = 'pgoutput' and database = pg_catalog.current_database() and not temporary
       and wal_status <> 'lost' order by slot_name`,
  );
  return rows.map(({ name }) => name);
}

/** Its WAL or its catalog rows are gone: it can not be streamed from any more. */
export function isLost(slot: Pick<SlotState, "walStatus" | "invalidation">): boolean {
  return slot.walStatus === "lost" || slot.invalidation !== null;
}

/** Moves a slot that nobody uses forward to a position: what lies before is not sent any more. */
export async function advanceSlot(session: Session, name: string, to: Lsn): Promise<void> {
  await session.query("select pg_catalog.pg_replication_slot_advance($1, $2::pg_lsn)", [
    name,
    formatLsn(to),
  ]);
}

/** Drops a slot. For lost ones: they hold nothing any more and block the name. */
export async function dropSlot(session: Session, name: string): Promise<void> {
  await session.query("select pg_catalog.pg_drop_replication_slot($1)", [name]);
}

/** Where a server stands, as far as SQL tells. */
export interface ServerState extends Server {
  readonly standby: boolean;
  /** End of its WAL that is safe on disk; on a standby, that is replayed. What "caught up" is measured against. */
  readonly end: Lsn;
  /** Everything that was committed before this time, by the server's clock, lies before `end`; null: not known. */
  readonly at: Micros | null;
  /** On a standby that it receives; to a role that may not see that (`pg_read_all_stats`), as of its last restartpoint. */
  readonly timeline: number;
}

// A WAL file's name begins with its timeline; in recovery that function is not to be had.
const SERVER_STATE = `
  select standby,
    ${WAL_TIME} as at,
    ${WAL_END} as end,
    case when standby then (
      select greatest(c.timeline_id, r.min_recovery_end_timeline, (select received_tli from pg_catalog.pg_stat_wal_receiver))
      from pg_catalog.pg_control_checkpoint() as c, pg_catalog.pg_control_recovery() as r)
         else ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int
    end as timeline
  from pg_catalog.pg_is_in_recovery() as standby`;

/** Asks where the server stands, and which one it is. */
export async function serverState(session: Session): Promise<ServerState> {
  const [row] = await session.query<{
    standby: boolean;
    at: string | null;
    end: string;
    timeline: number;
  }>(SERVER_STATE);
  const { standby, at, end, timeline } = must(row, "no server state");
  const server = await serverOf(session);
  return { ...server, standby, at: timeOrNull(at), end: parseLsn(end), timeline };
}

/** The limit in bytes on what any slot may hold back; null: none. */
export async function slotKeepSize(session: Session): Promise<number | null> {
  const [row] = await session.query<{ megabytes: string }>(
    "select setting as megabytes from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'",
  );
  const megabytes = Number(row?.megabytes ?? -1);
  return megabytes < 0 ? null : megabytes * 2 ** 20;
}
