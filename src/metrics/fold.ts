// Facts in, totals out. The fold is a cache of the ledger: folding the whole ledger again must give the same numbers.
//
// It is written ahead of the commit and published after it. When a commit fails the whole fold is thrown away and
// loaded again from the store; nothing is undone here.

import { type Micros, SECOND } from "../change/micros.ts";
import { type Names, type Fact, isFirstBuild } from "../derive/fact.ts";
import type { Entity } from "../derive/state.ts";
import { BASE_ERROR_CODES } from "./families/creations.ts";
import { BUILD_LABELS, buildLabels } from "./families/labels.ts";
import {
  type Family,
  type FoldedFamily,
  type LabelValues,
  type LiveFamily,
  type PendingFamily,
  keptLabels,
} from "./family.ts";
import { Hiding, type HiddenKey, NO_RETIREMENT, type Retirement } from "./hiding.ts";
import { COUNT, FIRST_BUCKET, SUM, TableBuilder, type Totals } from "./pages.ts";

/** One series as the store keeps it. */
export interface StoredSeries {
  readonly family: string;
  /** JSON array of the label values. */
  readonly labels: string;
  /** Totals in order; none for gauges, of which only the birth is kept (their numbers follow from what is in flight). */
  readonly values: Float64Array;
}

/** What can be built, and how first builds were seen to fail: decides births, whichever families are on. Kept like a family, never shown. */
const OFFERS = memory("known offers", BUILD_LABELS);
const ERROR_CODES = memory("known error codes", ["error_code"]);
export const MEMORIES: readonly Family[] = [OFFERS, ERROR_CODES];

export class Fold {
  readonly #builders: readonly TableBuilder[];
  readonly #folded: readonly { readonly builder: TableBuilder; readonly family: FoldedFamily }[];
  readonly #offers = new TableBuilder(OFFERS);
  readonly #errorCodes = new TableBuilder(ERROR_CODES);
  /** Everything that the store keeps, by the name of its family. */
  readonly #kept: ReadonlyMap<string, TableBuilder>;
  /** What is not shown, in families whose labels name workspaces. */
  readonly hiding: Hiding;
  readonly #pending = new Map<TableBuilder, Map<number, Map<string, number>>>();

  /** `seriesLimit`: label sets that a family may have, but for families whose label sets are few by nature (`initial`, `hiddenIn`). */
  constructor(
    catalog: readonly Family[],
    seriesLimit = Number.POSITIVE_INFINITY,
    retirement: Retirement = NO_RETIREMENT,
  ) {
    this.hiding = new Hiding(retirement);
    this.#builders = catalog.map((family) =>
      "initial" in family || "hiddenIn" in family
        ? new TableBuilder(family)
        : new TableBuilder(family, seriesLimit),
    );
    const kept = this.#builders.filter(({ family }) => !isLive(family));
    this.#kept = new Map(
      [this.#offers, this.#errorCodes, ...kept].map((each) => [each.family.name, each]),
    );
    this.#folded = this.#builders.flatMap((builder) =>
      builder.family.type === "gauge" ? [] : [{ builder, family: builder.family }],
    );
    for (const code of BASE_ERROR_CODES) this.#errorCodes.seriesOf([code]);
    for (const builder of this.#builders)
      if ("initial" in builder.family) this.#bear(builder, builder.family.initial);
  }

  /** Restores a stored series, which is not touched by that. Those of families that the catalog does not have are ignored. */
  restore({ family, labels, values }: StoredSeries): void {
    this.#kept.get(family)?.restore(labels, values);
  }

  /**
   * Once all series are restored: bears what the limit, another one by then, kept from being born. Not before, because what is stored
   * comes first.
   */
  restored(): void {
    this.#bearOffers();
  }

  /** Adds one fact, which must not have been added before. */
  add(fact: Fact): void {
    if (fact.kind === "attempted" || fact.kind === "offered") this.#offer(fact.names);
    if (fact.kind === "ended" && isFirstBuild(fact.traits)) this.#learn(fact.errorCode);
    const workspace = "workspace" in fact ? (fact.workspace?.id ?? null) : null;
    for (const { builder, family } of this.#folded) {
      if (this.hiding.leavesOut(family.hiddenIn ?? family, workspace)) continue;
      if (fact.kind === "attempted") this.#bear(builder, family.begun?.(fact));
      const samples = family.feeds(fact);
      if (samples)
        for (const { labels, took } of samples) {
          const numbers = family.hiddenIn
            ? this.#ifHidden(builder, family.hiddenIn, labels)
            : this.#numbersOf(builder, labels);
          if (numbers) observe(numbers, family, took);
        }
      // Also where the sample is dropped: the series was born when the agent began to wait, and a refold must agree.
      else if (fact.kind === "connected" && family.expect)
        this.#bear(builder, [family.expect(fact.names)]);
    }
  }

  /** Something begins to wait, or is there. Putting twice what waits is harmless; what is there as it was must be dropped first. */
  put(entity: Entity): void {
    for (const builder of this.#builders) {
      const { family } = builder;
      if (isLive(family)) this.#live(builder, family, entity, 1);
      else if (family.type === "gauge") this.#wait(builder, family, entity, true);
      else if (entity.kind === "agent" && family.expect) {
        if (this.hiding.leavesOut(family, entity.workspace?.id ?? null)) continue;
        this.#bear(builder, [family.expect(entity.names)]);
      }
    }
  }

  /** Something no longer waits, or is there no more. */
  drop(entity: Entity): void {
    for (const builder of this.#builders) {
      const { family } = builder;
      if (isLive(family)) this.#live(builder, family, entity, -1);
      else if (family.type === "gauge") this.#wait(builder, family, entity, false);
    }
  }

  /** Hides what is shown of workspaces of this name (see `nameIn`): the store must keep what is returned in another place. */
  retire(name: string): readonly (StoredSeries & HiddenKey)[] {
    return this.#folded.flatMap(({ builder, family }) =>
      builder.takeOut(name).map(({ key, numbers }) => {
        const series = { family: family.name, name, labels: key, values: numbers };
        this.#addHidden(series, 1);
        return series;
      }),
    );
  }

  /**
   * Shows a series again that was hidden, whatever the limit: it has had its place before. Returns one that is no more, which the store must
   * forget.
   */
  bringBack(series: StoredSeries): Pick<StoredSeries, "family" | "labels"> | null {
    this.#kept.get(series.family)?.bringBack(series.labels, series.values);
    return this.#addHidden(series, -1);
  }

  /** To what all hidden ones count together. */
  #addHidden(
    { family, labels, values }: StoredSeries,
    by: 1 | -1,
  ): Pick<StoredSeries, "family" | "labels"> | null {
    const all = this.#folded.find((each) => each.family.hiddenIn?.name === family);
    if (!all?.family.hiddenIn || values.every((value) => value === 0)) return null;
    const { builder } = all;
    const kept = keptLabels(all.family.hiddenIn, JSON.parse(labels) as string[]);
    const ordinal = builder.seriesOf(kept);
    const sums = builder.write(ordinal);
    for (const [i, value] of values.entries()) sums[i] = (sums[i] ?? 0) + by * value;
    if (!builder.takeOutIfZero(ordinal)) return null;
    return { family: builder.family.name, labels: JSON.stringify(kept) };
  }

  /** Totals touched since the last `publish`, as the store keeps them. */
  *touched(): Generator<StoredSeries> {
    for (const builder of this.#kept.values()) {
      for (const ordinal of builder.touched) yield stored(builder, ordinal);
    }
  }

  /** As `touched`, each only once: whoever takes it has it stored. */
  *settle(): Generator<StoredSeries> {
    for (const builder of this.#kept.values()) {
      for (const ordinal of builder.touched) {
        yield stored(builder, ordinal);
        builder.settle(ordinal);
      }
    }
  }

  /** All families as they are now, for readers. */
  publish(): Totals {
    this.#offers.publish();
    this.#errorCodes.publish();
    return { tables: this.#builders.map((builder) => builder.publish()) };
  }

  #bear(builder: TableBuilder, labelSets: readonly LabelValues[] = []): void {
    for (const labels of labelSets)
      if (!builder.has(labels) && !this.hiding.find(builder, labels)) builder.seriesOf(labels);
  }

  /** For writing: of the series that is shown, or of the one that is hidden. */
  #numbersOf(builder: TableBuilder, labels: LabelValues): Float64Array {
    // Nearly always it is shown; its key is text, which is made as seldom as can be.
    const shown = builder.ordinalOf(labels);
    if (shown !== undefined) return builder.write(shown);
    return this.hiding.find(builder, labels) ?? builder.write(builder.seriesOf(labels));
  }

  /** Of all that is hidden, where this is. */
  #ifHidden(builder: TableBuilder, family: FoldedFamily, labels: LabelValues): Float64Array | null {
    if (this.hiding.hides(family, labels, this.#kept.get(family.name)) === null) return null;
    return builder.write(builder.seriesOf(keptLabels(family, labels)));
  }

  /** A new error code is born at 0 wherever builds can fail, so that its second failure anywhere is not its first sample. */
  #learn(errorCode: string): void {
    if (errorCode === "" || this.#errorCodes.has([errorCode])) return;
    this.#errorCodes.seriesOf([errorCode]);
    this.#bearOffers();
  }

  /** Builds of these names can happen: everything they may lead to exists at 0 from now on. */
  #offer(names: Names): void {
    const labels = buildLabels(names);
    if (this.#offers.has(labels)) return;
    this.#offers.seriesOf(labels);
    this.#bearOffers([JSON.stringify(labels)]);
  }

  #bearOffers(offers: readonly string[] = this.#offers.keys): void {
    const codes = new Set(this.#errorCodes.keys.flatMap((key) => JSON.parse(key) as string[]));
    for (const offer of offers) {
      const [organization = "", template = "", preset = ""] = JSON.parse(offer) as string[];
      const names = { organization, template, preset };
      for (const builder of this.#builders)
        this.#bear(builder, builder.family.offer?.(names, codes));
    }
  }

  #live(builder: TableBuilder, family: LiveFamily, entity: Entity, by: 1 | -1): void {
    if (entity.kind !== "workspace") return;
    const each = family.each ? family.each(entity) : 1;
    if (each === 0) return;
    const labels = family.of(entity);
    const ordinal = by > 0 ? builder.seriesOf(labels) : builder.find(labels);
    const values = builder.write(ordinal);
    const count = (values[0] || 0) + by * each;
    const isLeft = count !== 0 || family.initial !== undefined;
    values[0] = isLeft ? count : Number.NaN;
    if (!isLeft) builder.free(ordinal);
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

const isLive = (family: Family): family is LiveFamily =>
  family.type === "gauge" && family.value === "live";

function memory(name: string, labels: readonly string[]): PendingFamily {
  return { name, prefix: "own", type: "gauge", value: "count", help: "", labels, of: () => null };
}

function stored(builder: TableBuilder, ordinal: number): StoredSeries {
  const labels = builder.keys[ordinal] ?? "";
  return { family: builder.family.name, labels, values: builder.stored(ordinal) };
}

/** Adds one to a series' numbers, which are as `metrics/pages.ts` has them. */
export function observe(values: Float64Array, family: FoldedFamily, took: Micros): void {
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
