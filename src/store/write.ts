// What can be written to the store, in one transaction.

import type { Uuid } from "../change/row.ts";
import type { Fact } from "../derive/fact.ts";
import type { Staged } from "../derive/staged.ts";
import type { Lsn } from "../lsn.ts";
import type { Totals } from "../metrics/pages.ts";
import type { Position } from "./position.ts";

/** One transaction. Disposing without `commit` rolls it back. */
export interface Write extends Disposable {
  /** Inserts or ignores; returns the facts that were new, and those that were set aside. Throws `Transient` when the disk refuses. */
  add(staged: Staged): readonly Fact[];
  /**
   * Fills in what was not recorded of these facts and entities: by an older version, or because the stream lacked it. If there was any
   * of it, all is folded again.
   */
  complete(told: Pick<Staged, "facts" | "put">): void;
  /**
   * From here on facts may be set aside, to go to their places together, which is cheap where there are many: of a ledger that was empty, from a
   * source that has each once. Reading finds them only when `place` has been through, or the commit.
   */
  setAside(): void;
  /** Puts what was set aside in its place, some at a time, so that others may run in between. */
  place(): Generator<void>;
  /** Whether the ledger has everything that there ever was, because it comes from the tables; false: it begins at a slot. */
  whole(whole: boolean): void;
  /** Positions beyond `end` are of a history that the server no longer has: what they told us was known by `end`. Some at a time. */
  rebase(end: Lsn): Generator<void>;
  /**
   * Workspaces that were deleted before the ledger began: first of all, and where series retire. Whatever is told of them is in no series whose
   * labels name a workspace.
   */
  leaveOut(workspaces: readonly Uuid[]): void;
  /** Writes the touched totals, some at a time, so that others may run in between; `commit` writes what is left at once. */
  settle(): Generator<void>;
  /** Makes it durable (fsync) and returns the totals that may now be shown. */
  commit(position: Position): Totals;
}
