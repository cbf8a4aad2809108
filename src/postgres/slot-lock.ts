// One slot, one process: between bursts nobody holds the slot itself, so an advisory lock of the same life says who uses it.

import { Transient } from "../errors.ts";
import type { Session } from "./session.ts";

/** First half of the lock's key, so that it is nobody else's: "flsl". The other half is a hash of the slot's name. */
const LOCK_CLASS = 0x66_6c_73_6c;

const LOCK = `select pg_catalog.pg_try_advisory_lock($1::int, pg_catalog.hashtext($2)) as locked`;

const LIMIT = `
  select pg_catalog.set_config(name, $1, false) from (values ('idle_session_timeout')) as wanted (name)
  where pg_catalog.current_setting(name, true) is not null`;

const HOLDER = `
  select pid from pg_catalog.pg_locks
  where locktype = 'advisory' and classid = $1::int::oid and objid = pg_catalog.hashtext($2)::bit(32)::bigint::oid and granted
    and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())`;

/**
 * Takes the lock that stands for the slot; it ends with the session. Works on standbys, where it is that server's own. Throws
 * `Transient` while another process has it.
 */
export async function requireSlotLock(session: Session, slot: string): Promise<void> {
  const [row] = await session.query<{ locked: boolean }>(LOCK, [LOCK_CLASS, slot]);
  if (row?.locked === true) return;
  throw new Transient(
    `the slot ${slot} is used by another Firstlight (process ${(await slotHolder(session, slot)) ?? "unknown"} of the server)`,
    { reason: "slot_in_use" },
  );
}

/** The server's process that has the lock; null: nobody. */
export async function slotHolder(session: Session, slot: string): Promise<number | null> {
  const [holder] = await session.query<{ pid: number }>(HOLDER, [LOCK_CLASS, slot]);
  return holder?.pid ?? null;
}

/**
 * Has the server end the session, and the lock with it, once it has been idle for so long ("0": never). For one that is asked
 * again and again: where a middlebox keeps the connection of a client that is gone, nothing else would. Postgres 14 and newer.
 */
export async function limitIdle(session: Session, limit: string): Promise<void> {
  await session.query(LIMIT, [limit]);
}
