// Facts in, totals out. The fold is a cache of the ledger: folding the whole ledger again must give the same numbers.
//
// It is written ahead of the commit and published after it. When a commit fails the whole fold is thrown away and
// loaded again from the store; nothing is undone here.

import { type Micros, SECOND } from "../change/micros.ts";
import { type Names, type Fact, isFirstBuild } from "../derive/fact.ts";
import type { Entity } from "../derive/state.ts";
import { BASE_ERROR_CODES } from "./families/creations.ts";
import type { Family, FoldedFamily, LabelValues, PendingFamily } from "./family.ts";
import { COUNT, FIRST_BUCKET, SUM, TableBuilder, type Totals } from "./pages.ts";

/** One series as the store keeps it: totals in order, never gauges (those follow from what is in flight). */
export interface StoredSeries {
  readonly family: string;
  /** JSON array of the label values. */
  readonly labels: string;
  readonly values: Float64Array;
}

export class Fold {
  readonly #builders: readonly TableBuilder[];
  readonly #folded: readonly { readonly builder: TableBuilder; readonly family: FoldedFamily }[];
  readonly #errorCodes = new Set<string>(BASE_ERROR_CODES);
  readonly #offers = new Map<string, Names>();
  readonly #pending = new Map<TableBuilder, Map<number, Map<string, number>>>();

  constructor(catalog: readonly Family[]) {
    this.#builders = catalog.map((family) => new TableBuilder(family));
    this.#folded = this.#builders.flatMap((builder) =>
      builder.family.type === "gauge" ? [] : [{ builder, family: builder.family }],
    );
    for (const builder of this.#builders) this.#bear(builder, builder.family.initial);
  }

  /** Restores a stored series. Families that the catalog no longer has are left in the store, unseen. */
  restore(series: StoredSeries): void {
    const target = this.#folded.find(({ family }) => family.name === series.family);
    if (!target) return;
    const { builder, family } = target;
    builder.restore(series.labels, series.values);
    if (!family.recall) return;
    const { names, errorCode } = family.recall(JSON.parse(series.labels) as string[]);
    if (errorCode !== undefined) this.#learn(errorCode);
    if (names !== undefined) this.#offer(names);
  }

  /** Adds one fact, which must not have been added before. */
  add(fact: Fact): void {
    if (fact.kind === "attempted" || fact.kind === "offered") this.#offer(fact.names);
    if (fact.kind === "ended" && isFirstBuild(fact.traits)) this.#learn(fact.errorCode);
    for (const { builder, family } of this.#folded) {
      const sample = family.feeds(fact);
      if (sample) observe(builder.write(builder.seriesOf(sample.labels)), family, sample.took);
      // Also where the sample is dropped: the series was born when the agent began to wait, and a refold must agree.
      else if (fact.kind === "connected" && family.expect)
        builder.seriesOf(family.expect(fact.names));
    }
  }

  /** Something begins to wait. Putting it twice is harmless. */
  put(entity: Entity): void {
    for (const builder of this.#builders) {
      const { family } = builder;
      if (family.type === "gauge") this.#wait(builder, family, entity, true);
      else if (entity.kind === "agent" && family.expect)
        builder.seriesOf(family.expect(entity.names));
    }
  }

  /** Something no longer waits. */
  drop(entity: Entity): void {
    for (const builder of this.#builders) {
      if (builder.family.type === "gauge") this.#wait(builder, builder.family, entity, false);
    }
  }

  /** Totals touched since the last `publish`, as the store keeps them. */
  *touched(): Generator<StoredSeries> {
    for (const builder of this.#builders) {
      if (builder.family.type === "gauge") continue;
      for (const ordinal of builder.touched) yield this.#stored(builder, ordinal);
    }
  }

  /** As `touched`, each only once: whoever takes it has it stored. */
  *settle(): Generator<StoredSeries> {
    for (const builder of this.#builders) {
      if (builder.family.type === "gauge") continue;
      for (const ordinal of builder.touched) {
        yield this.#stored(builder, ordinal);
        builder.settle(ordinal);
      }
    }
  }

  /** All families as they are now, for readers. */
  publish(): Totals {
    return { tables: this.#builders.map((builder) => builder.publish()) };
  }

  #stored(builder: TableBuilder, ordinal: number): StoredSeries {
    const labels = builder.keys[ordinal] ?? "";
    return { family: builder.family.name, labels, values: builder.read(ordinal) };
  }

  #bear(builder: TableBuilder, labelSets: readonly LabelValues[] = []): void {
    for (const labels of labelSets) builder.seriesOf(labels);
  }

  /** A new error code is born at 0 wherever builds can fail, so that its second failure anywhere is not its first sample. */
  #learn(errorCode: string): void {
    if (errorCode === "" || this.#errorCodes.has(errorCode)) return;
    this.#errorCodes.add(errorCode);
    for (const names of this.#offers.values()) this.#bearOffer(names);
  }

  /** Builds of these names can happen: everything they may lead to exists at 0 from now on. */
  #offer(names: Names): void {
    const key = JSON.stringify([names.organization, names.template, names.preset]);
    if (this.#offers.has(key)) return;
    this.#offers.set(key, names);
    this.#bearOffer(names);
  }

  #bearOffer(names: Names): void {
    for (const builder of this.#builders)
      this.#bear(builder, builder.family.offer?.(names, this.#errorCodes));
  }

  #wait(builder: TableBuilder, family: PendingFamily, entity: Entity, waits: boolean): void {
    const labels = family.of(entity);
    if (!labels) return;
    const ordinal = builder.seriesOf(labels);
    const bySeries = getOrMake(
      this.#pending,
      builder,
      () => new Map<number, Map<string, number>>(),
    );
    const waiting = getOrMake(bySeries, ordinal, () => new Map<string, number>());
    const values = builder.write(ordinal);
    if (waits) waiting.set(entity.id, entity.createdAt);
    else waiting.delete(entity.id);
    if (family.value === "count") values[0] = waiting.size;
    else if (!waits)
      values[0] = values[0] === entity.createdAt ? oldest(waiting) : (values[0] ?? Number.NaN);
    else
      values[0] =
        waiting.size === 1
          ? entity.createdAt
          : Math.min(values[0] ?? entity.createdAt, entity.createdAt);
  }
}

function observe(values: Float64Array, family: FoldedFamily, took: Micros): void {
  if (family.type === "counter") {
    values[0] = (values[0] ?? 0) + 1;
    return;
  }
  values[SUM] = (values[SUM] ?? 0) + took;
  values[COUNT] = (values[COUNT] ?? 0) + 1;
  const bucket = family.buckets.findIndex((bound) => took <= bound * SECOND);
  if (bucket >= 0) values[FIRST_BUCKET + bucket] = (values[FIRST_BUCKET + bucket] ?? 0) + 1;
}

/** NaN when nothing waits: the exposition leaves such a series out. */
function oldest(waiting: ReadonlyMap<string, number>): number {
  let least = Number.NaN;
  for (const createdAt of waiting.values()) if (!(least <= createdAt)) least = createdAt;
  return least;
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
