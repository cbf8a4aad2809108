// `backfill --from tables`: a temporary ledger of what the tables say now. No slot, no publication, no store: nothing but SELECT, on
// whatever server of the system it is.

import { must } from "../errors.ts";
import { GRACE } from "../derive/overdue.ts";
import { checkReading, requireAll } from "../postgres/requirements.ts";
import { type Session, openSession } from "../postgres/session.ts";
import { estimateRows } from "../postgres/tables.ts";
import type { Position } from "../store/position.ts";
import type { Store } from "../store/store.ts";
import type { Write } from "../store/write.ts";
import { fillFromTables } from "./fill.ts";
import type { LedgerProgress } from "./ledger-progress.ts";
import { noRows, watchRows } from "./progress.ts";
import { type TablesNow, tablesNow } from "./snapshot.ts";
import { type LedgerOptions, type TemporaryLedger, makeLedger } from "./temporary-ledger.ts";

/**
 * Reads the tables in one snapshot. On a primary it holds back the cleaning up of rows that die meanwhile, as a dump does; nobody waits
 * for it. Throws `NeedsOperator`, or the signal's reason.
 */
export async function ledgerFromTables(options: LedgerOptions): Promise<TemporaryLedger> {
  const { config, progress, signal } = options;
  return makeLedger(signal, async (write, store) => {
    const stalled = new AbortController();
    await using session = await openSession(await config.database(), {
      signal: AbortSignal.any([signal, stalled.signal]),
    });
    requireAll(await checkReading(session, config), "read yet");
    // Awaited here: the session must outlive it.
    return await addTables(write, { store, session, progress, stalled, signal });
  });
}

/** Enum values are the follower's to report. */
const leaveUnknown = (): void => undefined;

export interface AddOptions {
  readonly store: Store;
  /** Where nothing else is asked meanwhile. */
  readonly session: Session;
  readonly progress: LedgerProgress;
  /** Aborted when no row comes any more: ends the session. */
  readonly stalled: AbortController;
  readonly signal: AbortSignal;
}

/** Adds what the tables say now and the ledger does not know: with that it tells everything up to the position that is given. */
export async function addTables(
  write: Write,
  { store, session, progress, stalled, signal }: AddOptions,
): Promise<Position> {
  const tables = await tablesNow(session);
  const { rows } = progress;
  progress.about = await estimateRows(session);
  using _watchdog = watchRows({ rows, onStalled: () => stalled.abort(noRows()) });
  await fillFromTables(write, {
    store,
    tables,
    rows,
    onUnknown: leaveUnknown,
    grace: GRACE,
    signal,
  });
  write.whole(true);
  return positionOf(tables);
}

/** No slot stands there, and no stream goes on from it. */
async function positionOf({ consistent, system, server, reader }: TablesNow): Promise<Position> {
  const [here] = await reader.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  const { database } = must(here, "no database name");
  const nowhere = { slot: "", publication: "" };
  return { ...system, ...nowhere, server: server.address, database, consistent, end: consistent };
}
