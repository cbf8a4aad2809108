// A curve as lines of text: names and labels once, numbers whenever they change. Spelled as `/metrics` spells them, so that what
// is loaded is the same series.

import { SECOND } from "../change/micros.ts";
import { renderBound } from "../metrics/exposition.ts";
import { type FoldedFamily, fullName } from "../metrics/family.ts";
import { COUNT, FIRST_BUCKET, SUM, renderLabels } from "../metrics/pages.ts";
import type { Curve } from "./curves.ts";

/** How series are called, beside what the catalog says. */
export interface Naming {
  /** Of the families that mirror coderd's. */
  readonly prefix: string;
  /** Written into every sample: what Prometheus would add to a scrape, such as job and instance. */
  readonly labels: readonly (readonly [name: string, value: string])[];
}

/** Whole lines, how many samples are in them, and the ticks of the first and the last of these. */
export interface Chunk {
  readonly text: string;
  readonly samples: number;
  readonly first: number;
  readonly last: number;
}

/** Text without samples. */
export const plain = (text: string): Chunk => ({
  text,
  samples: 0,
  first: Number.POSITIVE_INFINITY,
  last: Number.NEGATIVE_INFINITY,
});

/** Samples that a curve has at each tick. */
export function linesPerTick(family: FoldedFamily): number {
  return family.type === "histogram" ? family.buckets.length + 3 : 1;
}

/** Each line up to its value, in the order of `numbersOf`. */
export function seriesOf({ family, key }: Curve, { prefix, labels }: Naming): readonly string[] {
  const name = fullName(family, prefix);
  const own = renderLabels(family.labels, JSON.parse(key) as string[]);
  const added = labels.map(([label, value]) => `,${renderLabels([label], [value])}`).join("");
  const all = own + added;
  if (family.type !== "histogram") return [`${name}{${all}}`];
  return [
    ...family.buckets.map((bound) => `${name}_bucket{${all},le="${renderBound(bound)}"}`),
    `${name}_bucket{${all},le="+Inf"}`,
    `${name}_sum{${all}}`,
    `${name}_count{${all}}`,
  ];
}

/** The numbers at this moment: of a histogram its cumulative buckets, all of it, its sum in seconds, and its count. */
export function numbersOf({ family, values }: Pick<Curve, "family" | "values">): number[] {
  if (family.type !== "histogram") return [values[0] ?? 0];
  const numbers: number[] = [];
  let below = 0;
  for (const index of family.buckets.keys())
    numbers.push((below += values[FIRST_BUCKET + index] ?? 0));
  const count = values[COUNT] ?? 0;
  numbers.push(count, (values[SUM] ?? 0) / SECOND, count);
  return numbers;
}
