// From the file to memory: what is cached of the fold, brought up to date with the catalog, and what waits. All of it yields
// every few milliseconds, so that others may run in between; nobody else uses the store meanwhile.

import type { DatabaseSync } from "node:sqlite";
import type { Fact } from "../derive/fact.ts";
import type { Entity } from "../derive/state.ts";
import type { Family } from "../metrics/family.ts";
import { Fold, MEMORIES, type StoredSeries } from "../metrics/fold.ts";
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

/** The fold of everything in the ledger, from nothing. */
export function refold(catalog: readonly Family[], ledger: Ledger, seriesLimit?: number): Fold {
  const steps = refolding(catalog, ledger, seriesLimit);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/**
 * Makes the stored series those of the catalog, in one transaction: families that are new, or were folded with another definition, are
 * folded from the ledger; those that are switched off or no more are dropped, because they would stand still; all others are
 * left as they are. The database is not asked.
 */
export function* bringUpToDate(cached: Cached): Generator<void> {
  const { sql, ledger, seriesLimit } = cached;
  const catalog = [...MEMORIES, ...cached.catalog];
  const wanted = new Map(catalog.map((family) => [family.name, definitionOf(family)]));
  const told = String(sql.getMeta.get(CATALOG)?.["value"] ?? "[]");
  const before = new Map((JSON.parse(told) as Definition[]).map((each) => [each.name, each]));
  const stale = new Set<string>();
  for (const [name, definition] of wanted)
    if (JSON.stringify(definition) !== JSON.stringify(before.get(name))) stale.add(name);
  const gone = [...before.keys()].filter((name) => !wanted.has(name));
  if (stale.size === 0 && gone.length === 0) return;

  const fold = yield* refolding(
    cached.catalog.filter(({ name }) => stale.has(name)),
    ledger,
    seriesLimit,
  );
  yield* inTransaction(cached.db, function* () {
    for (const name of [...stale, ...gone])
      while (sql.deleteSeries.run(name, AT_ONCE).changes > 0) yield;
    yield* putAll(sql, fold.touched(), (series) => stale.has(series.family));
    sql.putMeta.run(CATALOG, JSON.stringify([...wanted.values()]));
  });
}

/** The fold as it is stored, with the gauges of what waits and what is there. What is born only now is stored, too: the store decides who has a series. */
export function* restoring(
  { db, sql, catalog, seriesLimit }: Cached,
  { series, there }: { series: Iterable<StoredSeries>; there: Iterable<Entity> },
): Generator<void, Fold> {
  const fold = new Fold(catalog, seriesLimit);
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
  seriesLimit?: number,
): Generator<void, Fold> {
  const fold = new Fold(catalog, seriesLimit);
  yield* inSlices(ledger.facts(), (fact) => fold.add(fact));
  yield* inSlices(ledger.entities(), (entity) => fold.put(entity));
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
function* inTransaction(db: DatabaseSync, work: () => Generator<void>): Generator<void> {
  db.exec("begin immediate");
  try {
    yield* work();
    db.exec("commit");
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
}

/** What a stored series is a fold of, beside the facts. */
function definitionOf(family: Family): Definition {
  const { name, type, labels, version } = family;
  return { name, type, labels, buckets: family.type === "gauge" ? [] : family.buckets, version };
}
