// The tables as they were at one LSN: a temporary slot exports a snapshot at C, and the rows are read inside it as events.
// A baseline puts them into the ledger, `verify` compares the ledger with them.

import type pg from "pg";
import type { Log } from "../log.ts";
import type { Lsn } from "../lsn.ts";
import type { OnUnknown } from "../change/cells.ts";
import type { Event } from "../derive/step.ts";
import { lookupOffers } from "../postgres/lookup.ts";
import { type Session, openSession } from "../postgres/session.ts";
import { type System, openSnapshot } from "../postgres/slot.ts";
import { readAgents, readBuilds } from "../postgres/tables.ts";
import { agentNames, buildNames, offerEvent } from "./resolve.ts";

const REMIND_EVERY_MS = 15_000;

export interface TablesOptions {
  readonly clientConfig: pg.ClientConfig;
  /** Name of the temporary slot: at most 63 characters. */
  readonly temporarySlot: string;
  readonly log: Log;
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

/** Opens the snapshot; says every while that it is still waited for, and what would end that. Throws classed errors. */
export async function openTables(options: TablesOptions): Promise<Tables> {
  const { clientConfig, signal } = options;
  await using stack = new AsyncDisposableStack();
  const snapshot = stack.use(await openSnapshotAloud(options));
  const reader = stack.use(await openSession(clientConfig, { signal }));
  await reader.query("begin isolation level repeatable read read only");
  await reader.query(`set transaction snapshot '${snapshot.name.replaceAll("'", "''")}'`);
  const owned = stack.move();
  return {
    consistent: snapshot.consistent,
    system: snapshot.system,
    slot: snapshot.slot,
    reader,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function openSnapshotAloud({
  clientConfig,
  temporarySlot,
  log,
  signal,
}: TablesOptions): Promise<Awaited<ReturnType<typeof openSnapshot>>> {
  const reminder = setInterval(() => {
    log.warn("still waiting for a snapshot of the tables", {
      primary: "every transaction that was open when it began must end: see pg_stat_activity",
      standby:
        "an idle primary writes no running-xacts record: select pg_log_standby_snapshot() on the primary",
    });
  }, REMIND_EVERY_MS);
  try {
    return await openSnapshot({ clientConfig, slot: temporarySlot, signal });
  } finally {
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
