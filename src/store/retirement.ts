// Which names of workspaces are retired, and the numbers of their series. All of it follows from the file: the facts about deletions, who ever
// had a name, and how far `retired_up_to` has come.

import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { Family } from "../metrics/family.ts";
import type { Fold } from "../metrics/fold.ts";
import type { HiddenKey, Retirement } from "../metrics/hiding.ts";
import type { Statements } from "./statements.ts";

/** In `meta`: see sql/store/000005.sql. */
const RETIRED_UP_TO = "retired_up_to";
/** Its value while nothing has been retired. */
const NONE = "none";

/** Deletions taken up by one commit, each with some series: some milliseconds. */
const AT_ONCE = 10;
/** Hidden series that are written to the file together. */
const WRITTEN_AT_ONCE = 5_000;
/** Names whose answer is remembered. */
const REMEMBERED = 100_000;

export class Retired implements Retirement {
  readonly #sql: Statements;
  /** Names of the families that it is about. */
  readonly #families: readonly string[];
  /** What has been deleted up to then is retired; null: nothing is. */
  #upTo: Micros | null;
  readonly #answers = new Map<string, boolean>();
  #someLeftOut: boolean;
  /** Who is left out, while many are asked about. */
  #leftOut: Set<Uuid> | null = null;

  constructor(sql: Statements, catalog: readonly Family[]) {
    this.#sql = sql;
    this.#families = catalog.filter(({ whose }) => whose).map(({ name }) => name);
    const told = sql.getMeta.get(RETIRED_UP_TO)?.["value"] ?? NONE;
    this.#upTo = told === NONE ? null : Number(told);
    this.#someLeftOut = sql.someLeftOut();
  }

  isLeftOut(workspace: Uuid): boolean {
    if (!this.#someLeftOut) return false;
    return this.#leftOut?.has(workspace) ?? this.#sql.isLeftOut(workspace);
  }

  isRetired(name: string): boolean {
    if (this.#upTo === null) return false;
    let retired = this.#answers.get(name);
    if (retired === undefined) {
      retired = this.#sql.isRetired(name, this.#upTo);
      if (this.#answers.size >= REMEMBERED) this.#answers.clear();
      this.#answers.set(name, retired);
    }
    return retired;
  }

  numbersOf(series: HiddenKey): Float64Array | undefined {
    return this.#sql.getRetired(series);
  }

  /** Whether to hold in memory who is left out. */
  expectMany(many: boolean): void {
    this.#leftOut = many && this.#someLeftOut ? new Set(this.#sql.leftOut()) : null;
  }

  /** Leaves these out. Nothing of theirs may have been folded. */
  leaveOut(workspaces: readonly Uuid[]): void {
    this.#someLeftOut = true;
    this.#leftOut ??= new Set(this.#sql.leftOut());
    for (const id of workspaces) {
      this.#sql.leaveOut(id);
      this.#leftOut.add(id);
    }
  }

  /** Once rows were stored, and before they are folded: who has a name that nobody had any more brings its series back. */
  afterStoring(fold: Fold): void {
    for (const name of this.#sql.takeNewNames()) this.#settle(fold, name);
  }

  /** A workspace was deleted at this time. */
  afterDeletion(fold: Fold, { id, at }: { readonly id: Uuid; readonly at: Micros }): void {
    // Else it is for `moveOn`.
    if (this.#upTo !== null && at <= this.#upTo) this.afterDoubt(fold, id);
  }

  /** Whether this workspace is deleted may be another thing now. */
  afterDoubt(fold: Fold, id: Uuid): void {
    for (const name of this.#sql.namesOf(id)) this.#settle(fold, name);
  }

  /** Retires what has been deleted up to this time, some of it: the rest is for the next commits. */
  moveOn(fold: Fold, by: Micros): void {
    const due = this.#sql.deletedSince(this.#upTo, { by, atOnce: AT_ONCE });
    if (due === null) return;
    this.#moveTo(due.upTo);
    for (const id of due.workspaces) this.afterDoubt(fold, id);
  }

  /** All of it at once, where everything is folded again. */
  moveAll(by: Micros): void {
    const last = this.#sql.lastDeleted(by);
    if (last !== null && last > (this.#upTo ?? -Infinity)) this.#moveTo(last);
  }

  /** Stores what was written of hidden series, if there is much of it, or also if there are `few`. */
  store(fold: Fold, { few }: { readonly few: boolean }): void {
    if (!few && fold.hiding.size < WRITTEN_AT_ONCE) return;
    for (const series of fold.hiding.take()) this.#sql.putRetired(series);
  }

  /** Never beyond what is known to be deleted: a clock that is wrong once does no lasting harm. */
  #moveTo(upTo: Micros): void {
    this.#upTo = upTo;
    this.#answers.clear();
    this.#sql.putMeta.run(RETIRED_UP_TO, String(upTo));
  }

  /** Shows or hides the series of this name, as it must be now. */
  #settle(fold: Fold, name: string): void {
    this.#answers.delete(name);
    if (this.#upTo === null) return;
    if (this.isRetired(name)) {
      for (const series of fold.retire(name)) {
        this.#sql.putRetired(series);
        this.#sql.forgetSeries(series);
      }
      return;
    }
    this.store(fold, { few: true });
    for (const family of this.#families)
      for (const series of this.#sql.takeRetired(family, name)) {
        const over = fold.bringBack(series);
        if (over) this.#sql.forgetSeries(over);
      }
  }
}

/**
 * Switches it on or off, which has to be followed by folding all families again that name workspaces. `by`: what has been deleted up to then is
 * retired at once where it was off; null: off, and those who were left out for it count again.
 */
export function switchRetirement(sql: Statements, by: Micros | null): void {
  const isOn = sql.getMeta.get(RETIRED_UP_TO) !== undefined;
  if (isOn === (by !== null)) return;
  if (by !== null) sql.putMeta.run(RETIRED_UP_TO, String(sql.lastDeleted(by) ?? NONE));
  else {
    sql.leaveNobodyOut();
    sql.deleteMeta.run(RETIRED_UP_TO);
  }
}
