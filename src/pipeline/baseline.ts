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
import { publicationState } from "../postgres/publication.ts";
import type { Session } from "../postgres/session.ts";
import { copySlot, dropSlot, readSlot } from "../postgres/slot.ts";
import type { Position } from "../store/position.ts";
import type { Store } from "../store/store.ts";
import { requireSystem } from "./judge.ts";
import { openTables, tableEvents, temporaryName } from "./snapshot.ts";

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
  await using tables = await openTables({
    clientConfig,
    temporarySlot: temporaryName(slot, "baseline"),
    log,
    signal,
  });
  // Whoever answered before: this is the server whose tables would be read.
  if (options.stored) requireSystem(options.stored, tables.system);
  using write = store.begin();
  const rows = { builds: 0, agents: 0 };
  const add = (events: readonly Event[]): void => {
    const staged = new Staged(store.state);
    for (const event of events) staged.add(step(staged, event));
    write.add(staged);
  };
  for await (const events of tableEvents(tables, { rows, onUnknown: options.onUnknown })) {
    add(events);
    await yieldToLoop();
    signal.throwIfAborted();
  }
  await tables.reader.query("commit");

  const existing = await readSlot(session, slot);
  if (existing && (existing.walStatus === "lost" || existing.invalidation !== null))
    await dropSlot(session, slot);
  if (!existing || existing.walStatus === "lost" || existing.invalidation !== null) {
    await copySlot(session, tables.slot, slot);
  }
  const [here] = await session.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  const position: Position = {
    ...tables.system,
    database: here?.database ?? "",
    slot,
    publication: fingerprint ?? "",
    consistent: tables.consistent,
    end: tables.consistent,
  };
  const totals = write.commit(position);
  log.info("baseline complete", { ...rows, consistent: formatLsn(tables.consistent) });
  return { position, totals };
}
