// The one way to begin: facts from the tables inside an exported snapshot at C, inserted or ignored, then the stream from C.
// First start, gap and adoption of an old slot are this one path. All of it is one transaction of the store: a baseline
// that is interrupted leaves no fact. It leaves no slot either, unless it is cut off between the copy of the slot and the
// commit: then the slot is there, at C, and the next start uses it.

import { setImmediate as yieldToLoop } from "node:timers/promises";
import type pg from "pg";
import type { Log } from "../log.ts";
import { formatLsn } from "../lsn.ts";
import type { OnUnknown } from "../change/cells.ts";
import { type Event, step } from "../derive/step.ts";
import { Staged } from "../derive/staged.ts";
import type { Totals } from "../metrics/pages.ts";
import { lookupOffers } from "../postgres/lookup.ts";
import { publicationState } from "../postgres/publication.ts";
import { type Session, openSession } from "../postgres/session.ts";
import { type Snapshot, copySlot, dropSlot, openSnapshot, readSlot } from "../postgres/slot.ts";
import { readAgents, readBuilds } from "../postgres/tables.ts";
import type { Position } from "../store/position.ts";
import type { Store } from "../store/store.ts";
import { requireSystem } from "./judge.ts";
import { agentNames, buildNames, offerEvent } from "./resolve.ts";

const REMIND_EVERY_MS = 15_000;

export interface BaselineOptions {
  readonly clientConfig: pg.ClientConfig;
  readonly session: Session;
  readonly store: Store;
  /** Where the store stands; null when it is empty. */
  readonly stored: Position | null;
  readonly slot: string;
  readonly publication: string;
  readonly log: Log;
  readonly onUnknown: OnUnknown;
  readonly signal: AbortSignal;
}

/** Reads the tables into the ledger and leaves a permanent slot that can be started at the returned position. */
export async function baseline(
  options: BaselineOptions,
): Promise<{ position: Position; totals: Totals }> {
  const { clientConfig, session, store, slot, publication, log, signal } = options;
  // Before the snapshot: if it changes later, the check after START sees another fingerprint and begins again.
  const { fingerprint } = await publicationState(session, publication);
  log.info("baseline begins, waiting for open transactions to end", { slot });
  await using snapshot = await openSnapshotAloud(options);
  // Whoever answered before: this is the server whose tables would be read.
  if (options.stored) requireSystem(options.stored, snapshot.system);
  await using reader = await openSession(clientConfig, { signal });
  await reader.query("begin isolation level repeatable read read only");
  await reader.query(`set transaction snapshot '${snapshot.name.replaceAll("'", "''")}'`);

  using write = store.begin();
  const rows = { builds: 0, agents: 0 };
  const add = (events: readonly Event[]): void => {
    const staged = new Staged(store.state);
    for (const event of events) staged.add(step(staged, event));
    write.add(staged);
  };
  for await (const events of tableEvents(reader, {
    snapshot,
    rows,
    onUnknown: options.onUnknown,
  })) {
    add(events);
    await yieldToLoop();
    signal.throwIfAborted();
  }
  await reader.query("commit");

  const existing = await readSlot(session, slot);
  if (existing && (existing.walStatus === "lost" || existing.invalidation !== null))
    await dropSlot(session, slot);
  if (!existing || existing.walStatus === "lost" || existing.invalidation !== null) {
    await copySlot(session, snapshot.slot, slot);
  }
  const [here] = await session.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  const position: Position = {
    ...snapshot.system,
    database: here?.database ?? "",
    slot,
    publication: fingerprint ?? "",
    consistent: snapshot.consistent,
    end: snapshot.consistent,
  };
  const totals = write.commit(position);
  log.info("baseline complete", { ...rows, consistent: formatLsn(snapshot.consistent) });
  return { position, totals };
}

/** Opens the snapshot, and says every while that it is still waited for, and what would end that. */
async function openSnapshotAloud({
  clientConfig,
  slot,
  log,
  signal,
}: BaselineOptions): Promise<Snapshot> {
  const reminder = setInterval(() => {
    log.warn("the baseline still waits for its snapshot", {
      primary: "every transaction that was open when it began must end: see pg_stat_activity",
      standby:
        "an idle primary writes no running-xacts record: select pg_log_standby_snapshot() on the primary",
    });
  }, REMIND_EVERY_MS);
  try {
    return await openSnapshot({ clientConfig, slot: temporaryName(slot), signal });
  } finally {
    clearInterval(reminder);
  }
}

/** Rows of the tables as events, in causal order: builds with their jobs, then agents, then what can be built. */
async function* tableEvents(
  reader: Session,
  options: { snapshot: Snapshot; rows: { builds: number; agents: number }; onUnknown: OnUnknown },
): AsyncGenerator<Event[]> {
  const { rows, onUnknown } = options;
  const end = options.snapshot.consistent;
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

/** A name of our own for the temporary slot: at most 63 characters, as for any slot. */
function temporaryName(slot: string): string {
  return `${slot.slice(0, 40)}_baseline_${Date.now().toString(36)}`;
}
