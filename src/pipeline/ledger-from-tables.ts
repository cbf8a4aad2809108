// `backfill --from tables`: a temporary ledger of what the tables say now. No slot, no publication, no store: nothing but SELECT, on
// whatever server of the system it is.

import type { Session } from "../postgres/session.ts";
import { openSession } from "../postgres/session.ts";
import { checkReading, requireAll } from "../postgres/requirements.ts";
import { estimateRows } from "../postgres/tables.ts";
import type { Position } from "../store/position.ts";
import type { Store, Write } from "../store/store.ts";
import { fillFromTables } from "./fill.ts";
import type { LedgerProgress } from "./ledger-progress.ts";
import { noRows, watchRows } from "./progress.ts";
import { type TablesNow, tablesNow } from "./snapshot.ts";
import {
  type LedgerOptions,
  type TemporaryLedger,
  openTemporaryStore,
  readOnce,
} from "./temporary-ledger.ts";

/**
 * Reads the tables in one snapshot. On a primary it holds back the cleaning up of rows that die meanwhile, as a dump does; nobody waits
 * for it. Throws `NeedsOperator`, or the signal's reason.
 */
export async function ledgerFromTables(options: LedgerOptions): Promise<TemporaryLedger> {
  return readOnce(options.signal, async () => {
    const { config, progress, signal } = options;
    await using stack = new AsyncDisposableStack();
    const stalled = new AbortController();
    await using session = await openSession(await config.database(), {
      signal: AbortSignal.any([signal, stalled.signal]),
    });
    requireAll(await checkReading(session, config), "read yet");
    const { store, path } = stack.use(await openTemporaryStore());
    using write = store.begin({ bulk: true });
    const tables = await addTables(write, { store, session, progress, stalled, signal });
    const { at, system } = await seal(write, { session, tables });
    const owned = stack.move();
    return { store, path, at, system, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  });
}

export interface AddOptions {
  readonly store: Store;
  /** Where nothing else is asked meanwhile. */
  readonly session: Session;
  readonly progress: LedgerProgress;
  /** Aborted when no row comes any more: ends the session. */
  readonly stalled: AbortController;
  readonly signal: AbortSignal;
}

/** Adds what the tables say now and the ledger does not know. */
export async function addTables(
  write: Write,
  { store, session, progress, stalled, signal }: AddOptions,
): Promise<TablesNow> {
  const tables = await tablesNow(session);
  const { rows } = progress;
  progress.about = await estimateRows(session);
  using _watchdog = watchRows({ rows, onStalled: () => stalled.abort(noRows()) });
  // Unknown enum values are the follower's to report.
  await fillFromTables(write, { store, tables, rows, onUnknown: () => undefined, signal });
  await session.query("commit");
  return tables;
}

/** Commits it, with the position up to which it tells everything. */
export async function seal(
  write: Write,
  { session, tables }: { readonly session: Session; readonly tables: TablesNow },
): Promise<Pick<TemporaryLedger, "at" | "system">> {
  const { consistent: at, system, server } = tables;
  const [here] = await session.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  write.whole(true);
  const position: Position = {
    ...system,
    server: server.address,
    database: here?.database ?? "",
    slot: "",
    publication: "",
    consistent: at,
    end: at,
  };
  write.commit(position);
  return { at, system };
}
