// What a series must say at a moment, counted from the facts' own times and nothing else.

import type { Micros } from "../../../src/change/micros.ts";
import { SECOND } from "../../../src/change/micros.ts";
import type { Fact } from "../../../src/derive/fact.ts";
import { type Family, fullName } from "../../../src/metrics/family.ts";

/** Values by series, as `seriesKey` names them. */
export type Values = ReadonlyMap<string, number>;

/** A series by its name and labels, in any order. To a database a label without a value is none. */
export function seriesKey(
  labels: Readonly<Record<string, string>>,
  name = labels["__name__"],
): string {
  const sorted = Object.entries(labels)
    .filter(([label, value]) => label !== "__name__" && value !== "")
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `${name} ${JSON.stringify(sorted)}`;
}

/** What the facts after the first time and up to the second one add to each series. Those that they do not touch are absent. */
export function counted(
  facts: Iterable<Fact>,
  catalog: readonly Family[],
  { after, upTo, prefix = "coderd_" }: { after: Micros; upTo: Micros; prefix?: string },
): Values {
  const values = new Map<string, number>();
  const add = (key: string, more: number): void =>
    void values.set(key, (values.get(key) ?? 0) + more);
  for (const fact of facts) {
    if (!(fact.at > after && fact.at <= upTo)) continue;
    for (const family of catalog) {
      if (family.type === "gauge" || family.hiddenIn) continue;
      const name = fullName(family, prefix);
      for (const { labels, took } of family.feeds(fact) ?? []) {
        const of = Object.fromEntries(family.labels.map((label, i) => [label, labels[i] ?? ""]));
        if (family.type === "counter") {
          add(seriesKey(of, name), 1);
          continue;
        }
        for (const bound of family.buckets)
          add(
            seriesKey(
              { ...of, le: Number.isInteger(bound) ? `${bound}.0` : String(bound) },
              `${name}_bucket`,
            ),
            took <= bound * SECOND ? 1 : 0,
          );
        add(seriesKey({ ...of, le: "+Inf" }, `${name}_bucket`), 1);
        add(seriesKey(of, `${name}_count`), 1);
        add(seriesKey(of, `${name}_sum`), took);
      }
    }
  }
  for (const [key, value] of values) if (/^\S+_sum /.test(key)) values.set(key, value / SECOND);
  return values;
}
