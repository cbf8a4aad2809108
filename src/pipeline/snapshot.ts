// The tables as they were at one LSN: a temporary slot exports a snapshot at C, and the rows are read inside it as events.
// A baseline puts them into the ledger, `verify` compares the ledger with them.

import type pg from "pg";
import type { Log } from "../log.ts";
import { Transient } from "../errors.ts";
import type { Lsn } from "../lsn.ts";
import type { OnUnknown } from "../change/cells.ts";
import type { Event } from "../derive/step.ts";
import { lookupOffers } from "../postgres/lookup.ts";
import { type Session, openSession } from "../postgres/session.ts";
import { type Snapshot, openSnapshot } from "../postgres/slot.ts";
import { type System, requireSameServer, serverOf } from "../postgres/walsender.ts";
import { readAgents, readBuilds } from "../postgres/tables.ts";
import { agentNames, buildNames, offerEvent } from "./resolve.ts";

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
  readonly signal: AbortSignal;
}

/** The tables at `consistent`. Disposing ends the snapshot and drops its temporary slot. */
export interface Tables extends AsyncDisposable {
  /** C: the stream from this position on begins exactly where these rows end. */
  readonly consistent: Lsn;
  readonly system: System;
  /** The temporary slot, at C. */
  readonly slot: string;
  /** A session inside the snapshot. */
  readonly reader: Session;
}

/** How many rows were read, for progress. */
export interface RowsRead {
  builds: number;
  agents: number;
}

/** Opens a snapshot of its own; says every while that it is still waited for. Throws classed errors. */
export async function openTables(options: TablesOptions): Promise<Tables> {
  await using stack = new AsyncDisposableStack();
  const snapshot = stack.use(await waitForSnapshot(options));
  const tables = stack.use(await tablesInside(options, snapshot));
  const owned = stack.move();
  return { ...tables, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** The tables inside a snapshot that somebody else keeps open. Throws classed errors. */
export async function tablesInside(
  { clientConfig, signal }: Pick<TablesOptions, "clientConfig" | "signal">,
  snapshot: Omit<Snapshot, keyof AsyncDisposable>,
): Promise<Tables> {
  await using stack = new AsyncDisposableStack();
  const reader = stack.use(await openSession(clientConfig, { signal }));
  requireSameServer(snapshot.server, await serverOf(reader));
  await reader.query("begin isolation level repeatable read read only");
  await reader.query(`set transaction snapshot '${snapshot.name.replaceAll("'", "''")}'`);
  const owned = stack.move();
  const { consistent, system, slot } = snapshot;
  return { consistent, system, slot, reader, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function waitForSnapshot({
  clientConfig,
  temporarySlot,
  log,
  onWaiting,
  signal,
}: TablesOptions): Promise<Snapshot> {
  const limit = AbortSignal.timeout(WAIT_AT_MOST_MS);
  const first = setTimeout(() => onWaiting?.(), SAY_AFTER_MS);
  const reminder = setInterval(() => {
    log.warn(`still ${WAITING.message}`, { hint: WAITING.hint });
  }, REMIND_EVERY_MS);
  try {
    const either = AbortSignal.any([signal, limit]);
    return await openSnapshot({ clientConfig, slot: temporarySlot, signal: either });
  } catch (error) {
    if (!limit.aborted || signal.aborted) throw error;
    const message = `no snapshot of the tables after ${WAIT_AT_MOST_MS / 60_000} minutes: ${WAITING.hint}`;
    throw new Transient(message, { reason: WAITING.reason, cause: error });
  } finally {
    clearTimeout(first);
    clearInterval(reminder);
  }
}

/** Every row that means something as events, in causal order: builds with their jobs, then agents, then what can be built. */
export async function* tableEvents(
  { reader, consistent: end }: Pick<Tables, "reader" | "consistent">,
  { rows, onUnknown }: { readonly rows: RowsRead; readonly onUnknown: OnUnknown },
): AsyncGenerator<Event[]> {
  for await (const records of readBuilds(reader, onUnknown)) {
    rows.builds += records.length;
    yield records.flatMap(({ build, job, place }): Event[] => [
      { row: build, end, names: buildNames(place) },
      { row: job, end },
    ]);
  }
  for await (const records of readAgents(reader)) {
    rows.agents += records.length;
    yield records.map(({ agent, place }): Event => ({
      row: agent,
      end,
      names: agentNames(agent, place),
    }));
  }
  yield (await lookupOffers(reader, null)).map((place) => offerEvent(place, end));
}

/** A name of our own for a temporary slot beside `slot`: at most 63 characters, as for any slot. */
export function temporaryName(slot: string, purpose: "baseline" | "verify"): string {
  return `${slot.slice(0, 40)}_${purpose}_${Date.now().toString(36)}`;
}
