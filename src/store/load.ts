// From the file to memory: what is cached of the fold, brought up to date with the catalog, and what waits. All of it yields
// every few milliseconds, so that others may run in between; nobody else uses the store meanwhile.

import type { DatabaseSync } from "node:sqlite";
import type { Fact } from "../derive/fact.ts";
import type { Entity } from "../derive/state.ts";
import type { Family } from "../metrics/family.ts";
import { Fold, MEMORIES, type StoredSeries } from "../metrics/fold.ts";
import type { Micros } from "../change/micros.ts";
import { Retired, switchRetirement } from "./retirement.ts";
import type { Statements } from "./statements.ts";

/** Rows taken in one go: some milliseconds. */
const AT_ONCE = 1_000;
/** In `meta`: what the stored series were folded with. */
const CATALOG = "catalog";

/** The ledger, and what waits. */
export interface Ledger {
  facts(): Iterable<Fact>;
  entities(): Iterable<Entity>;
}

export interface Cached {
  readonly db: DatabaseSync;
  readonly sql: Statements;
  readonly catalog: readonly Family[];
  readonly seriesLimit: number;
  readonly ledger: Ledger;
}

export interface RefoldOptions {
  readonly seriesLimit?: number | undefined;
  /** Default: nothing is retired. What is must be in no table yet. */
  readonly retired?: Retired | undefined;
}

/** The fold of everything in the ledger, from nothing. Of what is hidden, not all is stored when it returns. */
export function refold(
  catalog: readonly Family[],
  ledger: Ledger,
  options: RefoldOptions = {},
): Fold {
  const steps = refolding(catalog, ledger, options);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/**
 * Makes the stored series those of the catalog, in one transaction: families that are new, or were folded with another definition, are
 * folded from the ledger; those that are switched off or no more are dropped, because they would stand still; all others are
 * left as they are. The database is not asked. `retireBy`: what has been deleted by now that is not to be shown; null: no series retires.
 */
export function* bringUpToDate(cached: Cached, retireBy: Micros | null): Generator<void, Retired> {
  const { sql, ledger, seriesLimit } = cached;
  const catalog = [...MEMORIES, ...cached.catalog];
  const retires = retireBy !== null;
  const wanted = new Map(catalog.map((family) => [family.name, definitionOf(family, retires)]));
  const told = String(sql.getMeta.get(CATALOG)?.["value"] ?? "[]");
  const before = new Map((JSON.parse(told) as Definition[]).map((each) => [each.name, each]));
  const stale = new Set<string>();
  for (const [name, definition] of wanted)
    if (JSON.stringify(definition) !== JSON.stringify(before.get(name))) stale.add(name);
  const gone = [...before.keys()].filter((name) => !wanted.has(name));
  if (stale.size === 0 && gone.length === 0) return new Retired(sql, cached.catalog);

  return yield* inTransaction(cached.db, function* () {
    // Where that changes something, all families that it is about are stale.
    switchRetirement(sql, retireBy);
    const retired = new Retired(sql, cached.catalog);
    for (const name of [...stale, ...gone])
      for (const statement of [sql.deleteSeries, sql.deleteRetired])
        while (statement.run(name, AT_ONCE).changes > 0) yield;
    const changed = cached.catalog.filter(({ name }) => stale.has(name));
    const fold = yield* refolding(changed, ledger, { seriesLimit, retired });
    retired.store(fold, { few: true });
    yield* putAll(sql, fold.touched(), (series) => stale.has(series.family));
    sql.putMeta.run(CATALOG, JSON.stringify([...wanted.values()]));
    return retired;
  });
}

/** The fold as it is stored, with the gauges of what waits and what is there. What is born only now is stored, too: the store decides who has a series. */
export function* restoring(
  { db, sql, catalog, seriesLimit }: Cached,
  {
    retirement,
    series,
    there,
  }: { retirement: Retired; series: Iterable<StoredSeries>; there: Iterable<Entity> },
): Generator<void, Fold> {
  const fold = new Fold(catalog, seriesLimit, retirement);
  yield* inSlices(series, (each) => fold.restore(each));
  fold.restored();
  yield* inSlices(there, (each) => fold.put(each));
  const [born] = fold.touched();
  if (born) yield* inTransaction(db, () => putAll(sql, fold.touched()));
  return fold;
}

function* refolding(
  catalog: readonly Family[],
  ledger: Ledger,
  { seriesLimit, retired }: RefoldOptions,
): Generator<void, Fold> {
  const fold = new Fold(catalog, seriesLimit, retired);
  retired?.expectMany(true);
  yield* inSlices(ledger.facts(), (fact) => {
    fold.add(fact);
    retired?.store(fold, { few: false });
  });
  yield* inSlices(ledger.entities(), (entity) => fold.put(entity));
  retired?.expectMany(false);
  return fold;
}

function putAll(
  sql: Statements,
  all: Iterable<StoredSeries>,
  which: (series: StoredSeries) => boolean = () => true,
): Generator<void> {
  return inSlices(all, (series) => {
    if (which(series)) sql.putSeries(series);
  });
}

function* inSlices<T>(all: Iterable<T>, take: (each: T) => void): Generator<void> {
  let taken = 0;
  for (const each of all) {
    take(each);
    taken += 1;
    if (taken % AT_ONCE === 0) yield;
  }
}

/** Also one that is given up in the middle leaves nothing. */
function* inTransaction<T>(db: DatabaseSync, work: () => Generator<void, T>): Generator<void, T> {
  db.exec("begin immediate");
  try {
    const result = yield* work();
    db.exec("commit");
    return result;
  } finally {
    if (db.isTransaction) db.exec("rollback");
  }
}

interface Definition {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly buckets: readonly number[];
  /** Left out of JSON where it is undefined, as in stores of before there were versions. */
  readonly version?: number | undefined;
  /** Its series retire, or it counts those that do. */
  readonly retires?: true | undefined;
}

/** What a stored series is a fold of, beside the facts. */
function definitionOf(family: Family, retires: boolean): Definition {
  const { name, type, labels, version, whose } = family;
  const buckets = family.type === "gauge" ? [] : family.buckets;
  const isAbout = whose !== undefined || "hiddenIn" in family;
  return { name, type, labels, buckets, version, retires: isAbout && retires ? true : undefined };
}
