// What a slot holds, asked for in SQL. A walsender sends each message with a system call of its own; these functions answer
// a query, and their session stays: measured, the cheapest way to read a slot now and then (ARCHITECTURE.md, docs/performance.md).

import pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { must } from "../errors.ts";
import { type Lsn, ZERO_LSN, formatLsn, parseLsn } from "../lsn.ts";
import { type Micros, timeOrNull } from "../change/micros.ts";
import { CopyValues } from "./copy-values.ts";
import { copyFailure } from "./copy.ts";
import { outputOptions } from "./publication.ts";
import type { Session } from "./session.ts";
import { CHECK_FOR_US, WAL_END, WAL_TIME } from "./slot.ts";

/** The most WAL that one query should read, in bytes: what bounds the server's work and temporary space. */
export const READ_AT_ONCE_BYTES = 64n << 20n;

/** Settings of a session that peeks. */
export async function prepareToPeek(session: Session): Promise<void> {
  await session.query(CHECK_FOR_US).catch(() => undefined);
  // What a query returns is kept in memory up to here, beyond in a temporary file.
  await session.query("select pg_catalog.set_config('work_mem', '16MB', false)");
}

export interface PeekOptions {
  readonly session: Session;
  readonly slot: string;
  readonly publication: string;
  /** Moves the slot here first; null: leaves it where it is. Everything before must be durable. */
  readonly advanceTo: Lsn | null;
  /** Every transaction whose commit record begins before this position is told; the last one may end behind it. */
  readonly until: Lsn;
  /** Called with each pgoutput message, valid only during the call. */
  readonly onMessage: (message: Buffer) => void;
}

/**
 * Reads what the slot holds between its confirmed position and `until`. Yields after each chunk from the network; whoever takes
 * its time lets the server wait. The slot is held only until the first chunk. Throws classed errors.
 */
export async function* peek({ session, onMessage, ...options }: PeekOptions): AsyncGenerator<void> {
  const values = new CopyValues();
  const stream = session.client.query(
    copyTo(`copy (${peekSql(options, session.version)}) to stdout (format binary)`),
  );
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      values.read(chunk, onMessage);
      yield;
    }
  } catch (error) {
    throw copyFailure(session, error);
  }
  values.end();
}

/** COPY knows no parameters. The slot's name comes through the advance, so that it happens before. */
function peekSql(
  { slot, publication, advanceTo, until }: Omit<PeekOptions, "session" | "onMessage">,
  version: number,
): string {
  const name = pg.escapeLiteral(slot);
  const from =
    advanceTo === null
      ? `(values (${name}::name)) as slot (slot_name)`
      : `pg_catalog.pg_replication_slot_advance(${name}, '${formatLsn(advanceTo)}') as slot`;
  return `select change.data from ${from},
    lateral pg_catalog.pg_logical_slot_peek_binary_changes(slot.slot_name, '${formatLsn(until)}', null, ${optionsSql(publication, version)}) as change`;
}

/** Decodes up to the first transaction that the slot has something to tell of. */
export function firstChangeSql(
  { slot, publication, until }: Pick<PeekOptions, "slot" | "publication" | "until">,
  version: number,
): string {
  return `select count(*) from pg_catalog.pg_logical_slot_peek_binary_changes(
    ${pg.escapeLiteral(slot)}, '${formatLsn(until)}', 1, ${optionsSql(publication, version)})`;
}

function optionsSql(publication: string, version: number): string {
  return Object.entries(outputOptions(publication, version))
    .flat()
    .map((text) => pg.escapeLiteral(text))
    .join(", ");
}

/** Where a slot and its server stand. */
export interface SlotPlace {
  /** End of the WAL that is safe on disk; on a standby, that is replayed. */
  readonly end: Lsn;
  /** Everything that was committed before this time, by the server's clock, lies before `end`; null: not known. */
  readonly at: Micros | null;
  /** Null when there is no such slot any more. */
  readonly confirmed: Lsn | null;
  /** Where decoding has to begin again each time: the oldest transaction that was open lately. */
  readonly restart: Lsn;
  readonly activePid: number | null;
}

const PLACE = `
  select ${WAL_TIME} as at, ${WAL_END} as end,
    slot.confirmed_flush_lsn::text as confirmed, slot.restart_lsn::text as restart, slot.active_pid
  from (values (1)) as one (row)
  left join pg_catalog.pg_replication_slots as slot on slot.slot_name = $1`;

/** Asks where a slot stands. */
export async function readPlace(session: Session, slot: string): Promise<SlotPlace> {
  const [row] = await session.query<{
    at: string | null;
    end: string;
    confirmed: string | null;
    restart: string | null;
    active_pid: number | null;
  }>(PLACE, [slot]);
  const { at, end, confirmed, restart, active_pid } = must(row, "no position");
  return {
    at: timeOrNull(at),
    end: parseLsn(end),
    confirmed: confirmed === null ? null : parseLsn(confirmed),
    restart: restart === null ? ZERO_LSN : parseLsn(restart),
    activePid: active_pid,
  };
}

/** Decoding begins anew each time, from the oldest transaction that was open: reading this much again is normal, … */
const REREAD_BYTES = 64n << 20n;
/** … and so is this many times what is new: the server moves that point on every 15 s. */
const REREAD_TIMES = 16n;

/**
 * Whether an open transaction holds the point where decoding begins so far back that bursts cost more than a stream. `fresh`: bytes of
 * WAL that are new.
 */
export function isPinned(
  { confirmed, restart }: { readonly confirmed: Lsn; readonly restart: Lsn },
  fresh: bigint,
): boolean {
  return confirmed - restart > REREAD_BYTES + REREAD_TIMES * fresh;
}
