// The tables as they were at one LSN: a temporary slot exports a snapshot at C, and the rows are read inside it as events.
// A baseline puts them into the ledger, `verify` compares the ledger with them.

import type pg from "pg";
import type { Log } from "../log.ts";
import { Transient, must } from "../errors.ts";
import type { Lsn } from "../lsn.ts";
import type { Micros } from "../change/micros.ts";
import type { JobRow } from "../change/row.ts";
import type { OnUnknown } from "../change/cells.ts";
import type { Event } from "../derive/step.ts";
import { lookupOffers } from "../postgres/lookup.ts";
import { type Session, openSession } from "../postgres/session.ts";
import { type Exported, openSnapshot, serverState } from "../postgres/slot.ts";
import { type Server, type System, requireSameServer, serverOf } from "../postgres/walsender.ts";
import {
  READING_SETTINGS,
  type RowCounts,
  readAgents,
  readBuilds,
  readOtherJobs,
} from "../postgres/tables.ts";
import { agentEvent, buildEvent, offerEvent } from "./resolve.ts";
import type { RowClock } from "./row-clock.ts";

const SAY_AFTER_MS = 2_000;
const REMIND_EVERY_MS = 15_000;
/** Then the wait is given up and begun again: what is waited for may have been forgotten by its owner. */
const WAIT_AT_MOST_MS = 600_000;

/** Why a snapshot is waited for, for people. */
export const WAITING = {
  reason: "waiting_for_snapshot",
  message: "waiting for a snapshot of the tables",
  hint: "every transaction that was open when it began must end: see pg_stat_activity on the primary. On a standby of an idle primary no running-xacts record comes by itself: run select pg_log_standby_snapshot(); on the primary",
} as const;

export interface TablesOptions {
  readonly clientConfig: pg.ClientConfig;
  /** Name of the temporary slot: at most 63 characters. */
  readonly temporarySlot: string;
  readonly log: Log;
  /** Told once it has been waited for some seconds. */
  readonly onWaiting?: () => void;
  /** Makes the temporary slot on a connection that outlives the tables. Default: on one of its own. */
  readonly makeSlot?: (() => Promise<Exported>) | undefined;
  readonly signal: AbortSignal;
}

/** The tables at `consistent`. Disposing ends the snapshot and drops its temporary slot. */
export interface Tables extends AsyncDisposable {
  /** C: the stream from this position on begins exactly where these rows end. */
  readonly consistent: Lsn;
  readonly system: System;
  readonly server: Server;
  /** Everything that was committed before this time, by the server's clock, is in the rows; null: not known. */
  readonly at: Micros | null;
  /** The temporary slot, at C. */
  readonly slot: string;
  /** A session inside the snapshot. */
  readonly reader: Session;
}

/** How many rows were read, for progress. */
export type RowsRead = RowCounts;

/** The tables at one moment, where no slot needs to begin. `consistent`: everything before it is in the rows, for information. */
export type TablesNow = Pick<Tables, "consistent" | "system" | "server" | "at" | "reader">;

/**
 * Begins a transaction with a snapshot of its own, which ends with the session. Needs nothing but the right to read: no slot, no
 * replication, no lock that anybody waits for; on a standby of any version, too. Throws classed errors.
 */
export async function tablesNow(reader: Session): Promise<TablesNow> {
  await reader.query("begin isolation level repeatable read read only");
  const { end: consistent, at, timeline, address, startedAt } = await serverState(reader);
  await reader.query(READING_SETTINGS);
  const [control] = await reader.query<{ systemId: string }>(
    'select system_identifier::text as "systemId" from pg_catalog.pg_control_system()',
  );
  const { systemId } = must(control, "no system identifier");
  const server = { address, startedAt };
  return { consistent, at, system: { systemId, timeline }, server, reader };
}

/** Opens the snapshot; says every while that it is still waited for. Throws classed errors. */
export async function openTables(options: TablesOptions): Promise<Tables> {
  const { clientConfig, makeSlot, temporarySlot: slot, signal } = options;
  await using stack = new AsyncDisposableStack();
  const snapshot = await waitAloud(options, async (patience) => {
    if (makeSlot) return makeSlot();
    return stack.use(await openSnapshot({ clientConfig, slot, signal: patience }));
  });
  // Only the wait had a limit.
  const reader = stack.use(await openSession(clientConfig, { signal }));
  requireSameServer(snapshot.server, await serverOf(reader));
  await reader.query("begin isolation level repeatable read read only");
  await reader.query(`set transaction snapshot '${snapshot.name.replaceAll("'", "''")}'`);
  await reader.query(READING_SETTINGS);
  const owned = stack.move();
  const { consistent, at, system, server } = snapshot;
  return {
    consistent,
    at,
    system,
    server,
    slot: snapshot.slot,
    reader,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function waitAloud<T>(
  { log, onWaiting, signal }: TablesOptions,
  open: (patience: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timers = [
    setTimeout(() => onWaiting?.(), SAY_AFTER_MS),
    setInterval(
      () => log.warn(`still ${WAITING.message}`, { hint: WAITING.hint }),
      REMIND_EVERY_MS,
    ),
    setTimeout(() => limit.abort(tooLong()), WAIT_AT_MOST_MS),
  ];
  const impatient = new Promise<never>((_resolve, reject) => {
    limit.signal.addEventListener("abort", () => reject(limit.signal.reason as Error));
  });
  try {
    return await Promise.race([open(AbortSignal.any([signal, limit.signal])), impatient]);
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

function tooLong(): Transient {
  const minutes = WAIT_AT_MOST_MS / 60_000;
  return new Transient(`no snapshot of the tables after ${minutes} minutes: ${WAITING.hint}`, {
    reason: WAITING.reason,
  });
}

export interface Reading {
  /** Counts what is read. */
  readonly rows: RowsRead;
  readonly onUnknown: OnUnknown;
  /** Set by what is read, before the first agent is. */
  readonly clock: RowClock;
  /** How long after its time is up an agent is told overdue. */
  readonly grace: Micros;
}

/** Every row that means something as events, in causal order: builds with their jobs, other jobs, agents, then what can be built. */
export async function* tableEvents(
  { reader, consistent: end, at }: Pick<Tables, "reader" | "consistent" | "at">,
  { rows, onUnknown, clock, grace }: Reading,
): AsyncGenerator<Event[]> {
  for await (const records of readBuilds(reader, onUnknown)) {
    rows.builds += records.length;
    for (const { job } of records) clock.see(job);
    yield records.flatMap(({ build, job, place }): Event[] => [
      buildEvent(build, place, { end, fromTables: true }),
      { row: asItIs(job), end },
    ]);
  }
  for await (const jobs of readOtherJobs(reader, onUnknown)) {
    for (const job of jobs) clock.see(job);
    yield jobs.map((job): Event => ({ row: asItIs(job), end }));
  }
  for await (const records of readAgents(reader)) {
    rows.agents += records.length;
    yield records.flatMap(({ agent, place }): Event[] => {
      const event = agentEvent(agent, place, { end, at, fromTables: true });
      const { limit } = event;
      if (!limit || agent.firstConnectedAt !== null) return [event];
      const isDue = agent.createdAt + limit.timeout + grace <= clock.now;
      return isDue ? [event, { row: { kind: "due", id: agent.id }, end }] : [event];
    });
  }
  yield (await lookupOffers(reader, null)).map((place) => offerEvent(place, end));
}

/** Tables say how it is now. */
function asItIs(job: JobRow): JobRow {
  return job.completedAt === null ? { ...job, isOpen: true } : job;
}

/** A name of our own for a temporary slot beside `slot`: at most 63 characters, as for any slot. */
export function temporaryName(slot: string, purpose: "baseline" | "verify" | "backfill"): string {
  return `${slot.slice(0, 40)}_${purpose}_${Date.now().toString(36)}`;
}
