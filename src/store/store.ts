// The ledger on disk and everything that follows from it. Durable before visible: `Write.commit` returns the totals to
// show, and nothing else does. After a failed or abandoned write the memory is stale and `load` must be called again.

import type { DatabaseSync } from "node:sqlite";
import type { Fact, FactKind, Sighting } from "../derive/fact.ts";
import type { EntityKind, State } from "../derive/state.ts";
import type { Staged } from "../derive/staged.ts";
import type { Family } from "../metrics/catalog.ts";
import { Fold, type StoredSeries } from "../metrics/fold.ts";
import type { Totals } from "../metrics/pages.ts";
import type { Uuid } from "../change/row.ts";
import type { Lsn } from "../lsn.ts";
import {
  type EntityRecord,
  type FactRecord,
  bytesToId,
  decodeEntity,
  decodeFact,
  factKind,
} from "./codec.ts";
import { ENTITY_KINDS, FACT_KINDS, idToBytes } from "./codec.ts";
import { attempt, openFile } from "./file.ts";
import type { Position } from "./position.ts";
import { type Statements, prepare } from "./statements.ts";

export interface Loaded {
  /** Null while the store is empty: no baseline has been completed. */
  readonly position: Position | null;
  readonly totals: Totals;
}

/** Numbers about the store, kept up to date by every commit. */
export interface Counts {
  readonly waiting: Readonly<Record<EntityKind, number>>;
  readonly divergent: Readonly<Record<FactKind, number>>;
}

/** One transaction. Disposing without `commit` rolls it back. */
export interface Write extends Disposable {
  /** Inserts or ignores; returns the facts that were new. Throws `Transient` when the disk refuses. */
  add(staged: Staged): readonly Fact[];
  /** Positions beyond `end` are of a history that the server no longer has: what they told us was known by `end`. */
  rebase(end: Lsn): void;
  /** Makes it durable (fsync) and returns the totals that may now be shown. */
  commit(position: Position): Totals;
}

export class Store implements Disposable {
  readonly #path: string;
  readonly #file: ReturnType<typeof openFile>;
  readonly #db: DatabaseSync;
  #sql: Statements;
  readonly #catalog: readonly Family[];
  #fold: Fold;
  #counts: Counts = emptyCounts();

  private constructor(path: string, catalog: readonly Family[]) {
    this.#path = path;
    this.#file = openFile(path);
    this.#db = this.#file.db;
    this.#sql = prepare(this.#db);
    this.#catalog = catalog;
    this.#fold = new Fold(catalog);
  }

  /** Opens or creates the store. Throws `NeedsOperator` where that can not be done. */
  static open(options: { path: string; catalog: readonly Family[] }): Store {
    return new Store(options.path, options.catalog);
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** Forgets all memory and reads it again: the answer to every broken stream and failed commit. */
  load(): Loaded {
    return attempt(this.#path, () => {
      // Interned ids of a write that was rolled back must not survive it.
      this.#sql = prepare(this.#db);
      if (this.#sql.getMeta.get("catalog")?.["value"] !== catalogFingerprint(this.#catalog))
        this.#refold();
      this.#fold = new Fold(this.#catalog);
      for (const series of this.storedSeries()) this.#fold.restore(series);
      const waiting = { build: 0, agent: 0 };
      for (const entity of this.#sql.allEntities.iterate(ENTITY_KINDS.build)) {
        this.#fold.put(decodeEntity("build", entity as unknown as EntityRecord));
        waiting.build += 1;
      }
      waiting.agent = Number(this.#sql.countEntities.get(ENTITY_KINDS.agent)?.["n"]);
      const divergent = { attempted: 0, ended: 0, connected: 0, offered: 0 };
      for (const row of this.#sql.countDivergent.all())
        divergent[factKind(row["kind"])] = Number(row["n"]);
      this.#counts = { waiting, divergent };
      return { position: this.#position(), totals: this.#fold.publish() };
    });
  }

  /** What derivation reads: the tables as they are, uncommitted writes of this process included. */
  get state(): State {
    const sql = this.#sql;
    const entity = (kind: EntityKind, id: Uuid): ReturnType<typeof decodeEntity> | undefined => {
      const record = sql.getEntity.get(ENTITY_KINDS[kind], idToBytes(id));
      return record && decodeEntity(kind, record as unknown as EntityRecord);
    };
    return {
      pendingBuild: (job) => {
        const found = entity("build", job);
        return found?.kind === "build" ? found : undefined;
      },
      pendingAgent: (agent) => {
        const found = entity("agent", agent);
        return found?.kind === "agent" ? found : undefined;
      },
      known: (kind, id) => sql.hasFact.get(FACT_KINDS[kind], idToBytes(id)) !== undefined,
    };
  }

  /** Ids of everything that waits. */
  *waiting(kind: EntityKind): Generator<Uuid> {
    for (const row of this.#sql.allEntityIds.iterate(ENTITY_KINDS[kind]))
      yield bytesToId(row["id"]);
  }

  /** The whole ledger, in no particular order. */
  *facts(): Generator<Fact> {
    for (const row of this.#sql.allFacts.iterate()) yield decodeFact(row as unknown as FactRecord);
  }

  /** The newest facts that the tables should still say, newest first. Reads the whole ledger: for rare moments. */
  recent(limit: number): Fact[] {
    return this.#sql.recentFacts
      .all(FACT_KINDS.offered, limit)
      .map((row) => decodeFact(row as unknown as FactRecord));
  }

  /** Facts that were told by something after this position. Reads the whole ledger: for rare moments. */
  *factsAfter(end: Lsn): Generator<Fact> {
    for (const row of this.#sql.factsAfter.iterate(end))
      yield decodeFact(row as unknown as FactRecord);
  }

  /** When baselines of this store began, in milliseconds since the epoch, none older than `since`. Also after a restart. */
  baselinesSince(since: number): readonly number[] {
    const told = this.#sql.getMeta.get("baselines")?.["value"] ?? "[]";
    return (JSON.parse(String(told)) as number[]).filter((at) => at >= since);
  }

  /** Remembers these times in place of the old ones. Throws `Transient` when the disk refuses. */
  rememberBaselines(times: readonly number[]): void {
    attempt(this.#path, () => this.#sql.putMeta.run("baselines", JSON.stringify(times)));
  }

  /** The cached fold, in order of birth. */
  *storedSeries(): Generator<StoredSeries> {
    for (const row of this.#sql.allSeries.iterate()) {
      const bytes = Uint8Array.from(row["value"] as Uint8Array);
      yield {
        family: String(row["family"]),
        labels: String(row["labels"]),
        values: new Float64Array(bytes.buffer),
      };
    }
  }

  /** Ids whose rows no longer say what was counted. */
  *divergent(): Generator<{ kind: FactKind; id: Uuid; reason: string; seen: string | null }> {
    for (const row of this.#sql.allDivergent.iterate()) {
      const seen = row["seen"];
      yield {
        kind: factKind(row["kind"]),
        id: bytesToId(row["id"]),
        reason: String(row["reason"]),
        seen: typeof seen === "string" ? seen : null,
      };
    }
  }

  /** Begins a write; there is one at a time. Throws `Transient` when the file is locked or can not be written. */
  begin(): Write {
    attempt(this.#path, () => this.#db.exec("begin immediate"));
    let open = true;
    return {
      add: (staged) => attempt(this.#path, () => this.#add(staged)),
      rebase: (end) => attempt(this.#path, () => void this.#sql.rebase.run(end, end)),
      commit: (position) =>
        attempt(this.#path, () => {
          this.#finish(position);
          this.#db.exec("commit");
          open = false;
          return this.#fold.publish();
        }),
      [Symbol.dispose]: () => {
        if (open && this.#db.isTransaction) this.#db.exec("rollback");
      },
    };
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  #add(staged: Staged): readonly Fact[] {
    const accepted = staged.facts.filter((fact) => this.#sql.insertFact(fact));
    for (const fact of accepted) this.#fold.add(fact);
    const waiting = { ...this.#counts.waiting };
    for (const entity of staged.put) {
      if (!this.#sql.insertEntity(entity)) continue;
      this.#fold.put(entity);
      waiting[entity.kind] += 1;
    }
    for (const entity of staged.drop) {
      if (!this.#sql.deleteEntity(entity)) continue;
      this.#fold.drop(entity);
      waiting[entity.kind] -= 1;
    }
    const divergent = { ...this.#counts.divergent };
    for (const sighting of staged.sightings) divergent[sighting.kind] += this.#compare(sighting);
    this.#counts = { waiting, divergent };
    return accepted;
  }

  /** Compares what the tables say now with what was counted; returns how the number of divergent ids changes. */
  #compare(sighting: Sighting): -1 | 0 | 1 {
    const key = [FACT_KINDS[sighting.kind], idToBytes(sighting.id)] as const;
    const known = this.#sql.getFact.get(...key);
    if (known === undefined) return 0;
    const was = this.#sql.getDivergent.get(...key) !== undefined;
    const difference = differs(decodeFact(known as unknown as FactRecord), sighting);
    if (difference === null) {
      if (was) this.#sql.deleteDivergent.run(...key);
      return was ? -1 : 0;
    }
    this.#sql.putDivergent.run(...key, difference.reason, difference.seen);
    return was ? 0 : 1;
  }

  #finish(position: Position): void {
    for (const series of this.#fold.touched()) this.#sql.putSeries(series);
    this.#sql.putPosition(position);
  }

  #position(): Position | null {
    return this.#sql.getPosition();
  }

  /** Folds the ledger again after the catalog or its labels changed; the database is not asked. */
  #refold(): void {
    const fold = refold(this.#catalog, this);
    this.#db.exec("begin immediate");
    try {
      this.#db.exec("delete from series");
      for (const series of fold.touched()) this.#sql.putSeries(series);
      this.#sql.putMeta.run("catalog", catalogFingerprint(this.#catalog));
      this.#db.exec("commit");
    } catch (error) {
      this.#db.exec("rollback");
      throw error;
    }
  }

  /** Everything that waits, agents too: their series exist at 0. */
  *entities(): Generator<ReturnType<typeof decodeEntity>> {
    for (const kind of ["build", "agent"] as const) {
      for (const row of this.#sql.allEntities.iterate(ENTITY_KINDS[kind])) {
        yield decodeEntity(kind, row as unknown as EntityRecord);
      }
    }
  }
}

/** The fold of everything in the store, from nothing. */
export function refold(catalog: readonly Family[], store: Pick<Store, "facts" | "entities">): Fold {
  const fold = new Fold(catalog);
  for (const fact of store.facts()) fold.add(fact);
  for (const entity of store.entities()) fold.put(entity);
  return fold;
}

function differs(known: Fact, sighting: Sighting): { reason: string; seen: string | null } | null {
  if ("gone" in sighting) return { reason: "vanished", seen: null };
  const { kind: _kind, id: _id, ...seen } = sighting;
  const same = Object.entries(seen).every(([field, value]) => Reflect.get(known, field) === value);
  return same ? null : { reason: "revised", seen: JSON.stringify(seen) };
}

function catalogFingerprint(catalog: readonly Family[]): string {
  const told = catalog.map((family) => ({
    name: family.name,
    type: family.type,
    labels: family.labels,
    buckets: family.type === "gauge" ? [] : family.buckets,
  }));
  return JSON.stringify(told);
}

function emptyCounts(): Counts {
  return {
    waiting: { build: 0, agent: 0 },
    divergent: { attempted: 0, ended: 0, connected: 0, offered: 0 },
  };
}
