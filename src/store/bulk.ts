// Settings for the one write that is as large as the ledger: a baseline.

import type { DatabaseSync } from "node:sqlite";

/**
 * What is not set aside (`aside.ts`) arrives in the order of the tables and lies in that of its random ids, so every page is needed until the
 * end. With SQLite's usual 2 MB, 675,000 facts took 3.1 s; with this 1.6 s; sorted, where the cache does not matter, 1.4 s.
 */
const CACHE_KIBIBYTES = 32_768;
const USUAL_CACHE_KIBIBYTES = 2_000;
const USUAL_CHECKPOINT_PAGES = 1_000;

/** Takes memory for a large transaction. Disposing gives it back, and the disk space of the write-ahead file. */
export function bulkSettings(db: DatabaseSync): Disposable {
  // A checkpoint takes as long as the commit, and nothing else is answered meanwhile: two short pauses, not a long one.
  db.exec(`pragma cache_size = -${CACHE_KIBIBYTES}; pragma wal_autocheckpoint = 0`);
  return {
    [Symbol.dispose]() {
      db.exec(
        `pragma cache_size = -${USUAL_CACHE_KIBIBYTES}; pragma wal_autocheckpoint = ${USUAL_CHECKPOINT_PAGES}`,
      );
      try {
        db.exec("pragma wal_checkpoint(truncate); pragma shrink_memory");
      } catch {
        // What was committed is durable all the same, and the next commits try again.
      }
    },
  };
}
