// Replication slots: looking at one, making the temporary one whose snapshot a baseline reads, and the permanent copy.

import pg from "pg";
import { NeedsOperator, must } from "../errors.ts";
import { type Lsn, parseLsn } from "../lsn.ts";
import { classify } from "./errors.ts";
import { CONNECT_OPTIONS, SESSION_SETTINGS, type Session, goodbye } from "./session.ts";

/** A slot as `pg_replication_slots` shows it. Columns that this server's version lacks are null. */
export interface SlotState {
  readonly plugin: string;
  readonly database: string;
  readonly activePid: number | null;
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
  confirmed_flush_lsn: string | null;
  wal_status: string | null;
  invalidation_reason?: string | null;
  conflicting?: boolean | null;
  safe_wal_size: string | null;
  retained: string | null;
  catalog_xmin_age: number | null;
}

// `slot.*`: columns were added with nearly every version; those that are not there are simply undefined.
const SLOT = `
  select slot.*,
    pg_catalog.pg_wal_lsn_diff(
      case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
           else pg_catalog.pg_current_wal_lsn() end, slot.restart_lsn)::text as retained,
    pg_catalog.age(slot.catalog_xmin) as catalog_xmin_age
  from pg_catalog.pg_replication_slots as slot where slot.slot_name = $1`;

/** The slot's state; null when there is none of this name. Throws `NeedsOperator` when it is not one of ours. */
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
  return {
    plugin: row.plugin,
    database: row.database,
    activePid: row.active_pid,
    confirmed: parseLsn(row.confirmed_flush_lsn ?? "0/0"),
    walStatus: row.wal_status ?? "lost",
    invalidation: row.invalidation_reason ?? (row.conflicting ? "conflict" : null),
    retainedBytes: Math.max(0, Number(row.retained ?? 0)),
    safeBytes: row.safe_wal_size === null ? null : Number(row.safe_wal_size),
    catalogXminAge: row.catalog_xmin_age,
  };
}

/** A temporary slot and the snapshot it exports. Both last until it is disposed; it runs no further command. */
export interface Snapshot extends AsyncDisposable {
  readonly slot: string;
  /** The stream from this slot begins exactly where the snapshot ends. */
  readonly consistent: Lsn;
  /** For `set transaction snapshot`. */
  readonly name: string;
  readonly system: System;
}

/** Who answers on the other side (IDENTIFY_SYSTEM). */
export interface System {
  readonly systemId: string;
  readonly timeline: number;
}

/** Connects for a moment to ask who answers. Also proves that this role may replicate. Throws classed errors. */
export async function whoAnswers(
  clientConfig: pg.ClientConfig,
  signal: AbortSignal,
): Promise<System> {
  await using connection = await openReplication(clientConfig, signal);
  try {
    return await identifySystem(connection.client);
  } catch (error) {
    throw signal.aborted ? signal.reason : classify(error);
  }
}

/** Asks a replication connection who it is. */
export async function identifySystem(client: pg.Client): Promise<System> {
  const { rows } = await client.query<{ systemid: string; timeline: number }>("IDENTIFY_SYSTEM");
  const row = must(rows[0], "IDENTIFY_SYSTEM gave no row");
  return { systemId: row.systemid, timeline: Number(row.timeline) };
}

/**
 * Creates a temporary slot with an exported snapshot. Waits for every transaction that is open now; abort with `signal`.
 * `pg` directly, not the replication library: a temporary slot lives in the session that made it.
 */
export async function openSnapshot(options: {
  readonly clientConfig: pg.ClientConfig;
  readonly slot: string;
  readonly signal: AbortSignal;
}): Promise<Snapshot> {
  const { signal, slot } = options;
  await using stack = new AsyncDisposableStack();
  const { client } = stack.use(await openReplication(options.clientConfig, signal));
  try {
    const system = await identifySystem(client);
    const { rows } = await client.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${pg.escapeIdentifier(slot)} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')`,
    );
    const connection = stack.move();
    return {
      slot,
      consistent: parseLsn(rows[0]?.consistent_point ?? ""),
      name: rows[0]?.snapshot_name ?? "",
      system,
      [Symbol.asyncDispose]: () => connection.disposeAsync(),
    };
  } catch (error) {
    throw signal.aborted ? signal.reason : classify(error);
  }
}

/** A replication connection of our own: for what the replication library has no word for. */
async function openReplication(
  clientConfig: pg.ClientConfig,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly client: pg.Client }> {
  const client = new pg.Client({
    ...CONNECT_OPTIONS,
    ...clientConfig,
    replication: "database",
  } as pg.ClientConfig);
  client.on("error", () => undefined); // the pending query rejects with the same error
  const abort = (): void => void client.connection.stream.destroy();
  signal.addEventListener("abort", abort, { once: true });
  const close = async (): Promise<void> => {
    signal.removeEventListener("abort", abort);
    await goodbye(client);
  };
  try {
    await client.connect();
    for (const statement of SESSION_SETTINGS) await client.query(statement);
    return { client, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw signal.aborted ? signal.reason : classify(error);
  }
}

/** Copies a slot to a permanent one at the same position. */
export async function copySlot(session: Session, from: string, to: string): Promise<void> {
  await session.query("select pg_catalog.pg_copy_logical_replication_slot($1, $2, false)", [
    from,
    to,
  ]);
}

/** Drops a slot. For lost ones: they hold nothing any more and block the name. */
export async function dropSlot(session: Session, name: string): Promise<void> {
  await session.query("select pg_catalog.pg_drop_replication_slot($1)", [name]);
}

/** Whether this server is a standby. */
export async function inRecovery(session: Session): Promise<boolean> {
  const [row] = await session.query<{ standby: boolean }>(
    "select pg_catalog.pg_is_in_recovery() as standby",
  );
  return row?.standby ?? false;
}

/** End of the WAL that is safe on disk (standby: replayed): what "caught up" is measured against. */
export async function serverPosition(session: Session): Promise<Lsn> {
  const [row] = await session.query<{ lsn: string }>(
    `select (case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
                  else pg_catalog.pg_current_wal_flush_lsn() end)::text as lsn`,
  );
  return parseLsn(row?.lsn ?? "");
}
