// The store's write lock, taken by the test: SQLite then refuses every write of the process, as a full disk would.

import { DatabaseSync } from "node:sqlite";

/** Holds the lock until disposed. Waits up to 5 s for a commit that is under way. */
export function holdWriteLock(statePath: string): Disposable {
  const db = new DatabaseSync(statePath, { timeout: 5_000 });
  db.exec("begin immediate");
  return {
    [Symbol.dispose]() {
      db.exec("rollback");
      db.close();
    },
  };
}
