// The ledger on disk and everything that follows from it. Durable before visible: `Write.commit` returns the totals to
// show, and nothing else does. After a failed or abandoned write the memory is stale and `load` must be called again.

import type { DatabaseSync } from "node:sqlite";
import { type Fact, type FactKind, perFact } from "../derive/fact.ts";
import { type LiveWorkspace, type WaitingKind, perWaiting } from "../derive/state.ts";
import type { Staged } from "../derive/staged.ts";
import type { Family } from "../metrics/family.ts";
import { Fold } from "../metrics/fold.ts";
import type { Totals } from "../metrics/pages.ts";
import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { Lsn } from "../lsn.ts";
import { type EntityRecord, decodeEntity, ENTITY_KINDS, factKind, idToBytes } from "./codec.ts";
import { Aside } from "./aside.ts";
import { bulkSettings } from "./bulk.ts";
import { compare } from "./divergence.ts";
import { attempt, openFile, reading } from "./file.ts";
import { type Cached, bringUpToDate, refold, restoring } from "./load.ts";
import type { Position } from "./position.ts";
import { LACKS, LedgerReader, SINCE_SLOT, idRanges } from "./reader.ts";
import { Retired } from "./retirement.ts";
import { type Statements, prepare } from "./statements.ts";
import type { Write } from "./write.ts";

/** Series written in one go: some milliseconds. */
const SETTLED_AT_ONCE = 1_000;

export interface Loaded {
  /** Null while the store is empty: no baseline has been completed. */
  readonly position: Position | null;
  readonly totals: Totals;
}

/** Numbers about the store, kept up to date by every commit. */
export interface Counts {
  readonly waiting: Readonly<Record<WaitingKind, number>>;
  readonly divergent: Readonly<Record<FactKind, number>>;
}

export interface StoreOptions {
  readonly path: string;
  /** What is folded. Others that are in the file are dropped by `load`. */
  readonly catalog: readonly Family[];
  /** Label sets that a family may have; more share one overflow series. Default: no limit. */
  readonly seriesLimit?: number;
  /** Asked at each commit: series of workspaces that were deleted by then are not shown any more. Default: no series retires. */
  readonly retireUpTo?: (() => Micros) | null;
}

export class Store implements Disposable {
  readonly #path: string;
  readonly #file: ReturnType<typeof openFile>;
  readonly #db: DatabaseSync;
  #sql: Statements;
  #ledger: LedgerReader;
  readonly #catalog: readonly Family[];
  readonly #seriesLimit: number;
  readonly #retireUpTo: (() => Micros) | null;
  #fold: Fold;
  #retired: Retired;
  #counts: Counts = emptyCounts();
  /** While a write sets facts aside. */
  #aside: Aside | null = null;
  /** What is written makes the totals others than those of the ledger: to be folded from the beginning. */
  #stale = false;

  private constructor({ path, catalog, seriesLimit, retireUpTo }: StoreOptions) {
    this.#path = path;
    this.#file = openFile(path);
    this.#db = this.#file.db;
    this.#catalog = catalog;
    this.#seriesLimit = seriesLimit ?? Number.POSITIVE_INFINITY;
    this.#retireUpTo = retireUpTo ?? null;
    this.#fold = new Fold(catalog);
    try {
      this.#sql = reading(path, () => prepare(this.#db));
      this.#ledger = new LedgerReader(path, this.#sql);
      this.#retired = reading(path, () => new Retired(this.#sql, catalog));
    } catch (error) {
      this.#file[Symbol.dispose]();
      throw error;
    }
  }

  /** Opens or creates the store. Throws `NeedsOperator` where that can not be done. */
  static open(options: StoreOptions): Store {
    return new Store(options);
  }

  /** What is in it, to be read. Another one after each `load`. */
  get ledger(): LedgerReader {
    return this.#ledger;
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** Forgets all memory and reads it again: the answer to every broken stream and failed commit. */
  load(): Loaded {
    const steps = this.loading();
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  }

  /** As `load`, some milliseconds at a time, so that others may run in between, who must leave the store alone. */
  *loading(): Generator<void, Loaded> {
    using steps = this.#loading();
    for (;;) {
      const { done, value } = reading(this.#path, () => steps.next());
      if (done) return value;
      yield;
    }
  }

  *#loading(): Generator<void, Loaded> {
    // Interned ids of a write that was rolled back must not survive it.
    this.#sql = prepare(this.#db);
    this.#ledger = new LedgerReader(this.#path, this.#sql);
    const [db, sql, catalog, seriesLimit] = [this.#db, this.#sql, this.#catalog, this.#seriesLimit];
    const cached: Cached = { db, sql, catalog, seriesLimit, ledger: this.#ledger };
    this.#retired = yield* bringUpToDate(cached, this.#retireUpTo?.() ?? null);
    const series = this.#ledger.storedSeries();
    this.#fold = yield* restoring(cached, {
      retirement: this.#retired,
      series,
      there: this.#ledger.entities(["build", "job", "workspace"]),
    });
    const count = (kind: WaitingKind): number =>
      Number(sql.countEntities.get(ENTITY_KINDS[kind])?.["n"]);
    const divergent = perFact(() => 0);
    for (const row of sql.countDivergent.all()) divergent[factKind(row["kind"])] = Number(row["n"]);
    this.#counts = {
      waiting: perWaiting(count),
      divergent,
    };
    return { position: this.#position(), totals: this.#fold.publish() };
  }

  /** Whether series of deleted workspaces retire. */
  get retires(): boolean {
    return this.#retireUpTo !== null;
  }

  /** Nothing is counted and nothing waits. */
  get empty(): boolean {
    return reading(this.#path, () => this.#sql.isEmpty.get()?.["empty"] === 1);
  }

  /** When baselines of this store began, in milliseconds since the epoch, none older than `since`. Also after a restart. */
  baselinesSince(since: number): readonly number[] {
    return reading(this.#path, () => {
      const told = this.#sql.getMeta.get("baselines")?.["value"] ?? "[]";
      return (JSON.parse(String(told)) as number[]).filter((at) => at >= since);
    });
  }

  /** Remembers these times in place of the old ones. Throws `Transient` when the disk refuses. */
  rememberBaselines(times: readonly number[]): void {
    attempt(this.#path, () => this.#sql.putMeta.run("baselines", JSON.stringify(times)));
  }

  /**
   * Begins a write; there is one at a time. `bulk`: for one that may be as large as the ledger, which takes memory meanwhile.
   * Throws `Transient` when the file is locked or can not be written.
   */
  begin({ bulk = false }: { readonly bulk?: boolean } = {}): Write {
    this.#file.requireThere();
    attempt(this.#path, () => this.#db.exec("begin immediate"));
    let open = true;
    this.#stale = false;
    const settings = bulk ? bulkSettings(this.#db) : null;
    this.#sql.expectMany(bulk);
    this.#retired.expectMany(bulk);
    return {
      settle: () => this.#settle(),
      setAside: () => {
        this.#aside ??= new Aside(this.#db);
      },
      place: () => this.#place(),
      add: (staged) => attempt(this.#path, () => this.#add(staged)),
      complete: ({ facts, put }) =>
        attempt(this.#path, () => {
          const older = !this.#ledger.complete;
          this.#stale ||= older;
          for (const fact of facts)
            this.#stale = this.#sql.completeFact(fact, { older }) || this.#stale;
          for (const entity of put) this.#sql.completeEntity(entity, { older });
        }),
      whole: (whole) =>
        attempt(this.#path, () => {
          if (whole) this.#sql.deleteMeta.run(SINCE_SLOT);
          else this.#sql.putMeta.run(SINCE_SLOT, "true");
        }),
      leaveOut: (workspaces) => attempt(this.#path, () => this.#retired.leaveOut(workspaces)),
      rebase: (end) => this.#rebase(end),
      commit: (position) =>
        attempt(this.#path, () => {
          for (const _ of this.#place());
          if (this.#stale) this.#foldAgain();
          this.#finish(position);
          this.#db.exec("commit");
          open = false;
          return this.#fold.publish();
        }),
      [Symbol.dispose]: () => {
        this.#aside = null;
        if (open && this.#db.isTransaction) this.#db.exec("rollback");
        this.#sql.expectMany(false);
        this.#retired.expectMany(false);
        settings?.[Symbol.dispose]();
      },
    };
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  #add(staged: Staged): readonly Fact[] {
    const [fold, retired] = [this.#fold, this.#retired];
    const accepted = staged.facts.filter((fact) => this.#insert(fact));
    retired.afterStoring(fold);
    for (const fact of accepted) {
      fold.add(fact);
      if (fact.kind === "deleted") retired.afterDeletion(fold, fact);
    }
    const waiting = { ...this.#counts.waiting };
    for (const entity of staged.put) {
      if (entity.kind === "workspace") {
        this.#replace(entity.id, entity);
        continue;
      }
      // Its agents may be others by now.
      if (entity.kind === "start" && this.#sql.deleteEntity(entity)) waiting.start -= 1;
      if (!this.#sql.insertEntity(entity)) {
        if (entity.kind === "agent") this.#sql.putDue(entity);
        continue;
      }
      retired.afterStoring(fold);
      fold.put(entity);
      waiting[entity.kind] += 1;
    }
    for (const entity of staged.drop) {
      if (entity.kind === "workspace") {
        this.#replace(entity.id, null);
        continue;
      }
      if (!this.#sql.deleteEntity(entity)) continue;
      fold.drop(entity);
      waiting[entity.kind] -= 1;
    }
    const divergent = { ...this.#counts.divergent };
    for (const sighting of staged.sightings) {
      const listed = divergent[sighting.kind] > 0;
      const change = compare(this.#sql, sighting, listed);
      divergent[sighting.kind] += change;
      // Mostly it is as it was counted.
      if (sighting.kind === "deleted" && (change !== 0 || (listed && this.#sql.isListed(sighting))))
        retired.afterDoubt(fold, sighting.id);
    }
    retired.store(fold, { few: false });
    this.#counts = { waiting, divergent };
    return accepted;
  }

  /** Whether it is new, as far as is known by now. */
  #insert(fact: Fact): boolean {
    const row = this.#sql.rowOf(fact);
    if (!this.#aside?.takes(fact.kind)) return this.#sql.insertFact(row);
    this.#aside.add(row);
    return true;
  }

  *#place(): Generator<void> {
    const steps = this.#aside?.place();
    for (;;) {
      const step = attempt(this.#path, () => steps?.next());
      if (step === undefined || step.done === true) return;
      // What came twice was counted twice.
      this.#stale ||= step.value > 0;
      yield;
    }
  }

  /** What is stored of a workspace is what was folded of it: taken out first. */
  #replace(id: Uuid, workspace: LiveWorkspace | null): void {
    const record = this.#sql.getEntity.get(ENTITY_KINDS.workspace, idToBytes(id));
    if (record) {
      const before = decodeEntity("workspace", record as unknown as EntityRecord);
      this.#fold.drop(before);
      this.#sql.deleteEntity(before);
    }
    if (!workspace) return;
    this.#sql.insertEntity(workspace);
    this.#fold.put(workspace);
  }

  *#settle(): Generator<void> {
    let written = 0;
    for (const series of this.#fold.settle()) {
      attempt(this.#path, () => this.#sql.putSeries(series));
      written += 1;
      if (written % SETTLED_AT_ONCE === 0) yield;
    }
  }

  /** In slices: SQLite keeps the pages that one statement changes as they were, in memory. */
  *#rebase(end: Lsn): Generator<void> {
    for (const range of idRanges()) {
      attempt(this.#path, () => void this.#sql.rebase.run({ ...range, end }));
      yield;
    }
  }

  /** From the beginning: what was filled in counts otherwise. */
  #foldAgain(): void {
    this.#sql.deleteMeta.run(LACKS);
    this.#db.exec("delete from series; delete from retired");
    const [seriesLimit, retired] = [this.#seriesLimit, this.#retired];
    if (this.#retireUpTo) retired.moveAll(this.#retireUpTo());
    this.#fold = refold(this.#catalog, this.#ledger, { seriesLimit, retired });
  }

  #finish(position: Position): void {
    if (this.#retireUpTo) this.#retired.moveOn(this.#fold, this.#retireUpTo());
    this.#retired.store(this.#fold, { few: true });
    for (const series of this.#fold.settle()) this.#sql.putSeries(series);
    this.#sql.putPosition(position);
  }

  #position(): Position | null {
    return this.#sql.getPosition();
  }
}

function emptyCounts(): Counts {
  return {
    waiting: perWaiting(() => 0),
    divergent: perFact(() => 0),
  };
}
