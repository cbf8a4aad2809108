// What is drawn: one curve for each label set of each family, from its first count to the end of the window.
//
// Facts come twice. `survey` takes all of them, in any order, and finds which curves there are, what each has counted by the
// window's first tick, and how much will change. `mark` takes those within the window, in the order of their times, a block at
// a time: so a year needs the memory of one block. Births (`offer`, `begun`, `expect`, `initial`) are left out: they say what
// could have happened, and depend on when somebody began to look.

import type { Micros } from "../change/micros.ts";
import type { Fact } from "../derive/fact.ts";
import type { FoldedFamily } from "../metrics/family.ts";
import { observe } from "../metrics/fold.ts";
import { widthOf } from "../metrics/pages.ts";
import { type Window, tickOf } from "./window.ts";

/** One label set of a family. */
export interface Curve {
  readonly family: FoldedFamily;
  /** JSON array of the label values. */
  readonly key: string;
  /** What is counted so far, as `metrics/pages.ts` has it. */
  readonly values: Float64Array;
  /** Tick of its first sample: of the window, where something was counted by then; else it is 0 there. */
  readonly begins: number;
  /** Counts within the window. */
  readonly counts: number;
  /** What happens in the block at hand, in order: a tick, the duration that was observed, a tick, … */
  readonly marks: number[];
}

type Drawing = { -readonly [K in keyof Curve]: Curve[K] };

export class Curves {
  readonly #window: Window;
  readonly #families: readonly {
    readonly family: FoldedFamily;
    readonly curves: Map<string, Drawing>;
  }[];

  constructor(families: readonly FoldedFamily[], window: Window) {
    this.#window = window;
    this.#families = families.map((family) => ({ family, curves: new Map() }));
  }

  /** First pass: any fact, in any order, each once. */
  survey(fact: Fact): void {
    const { first, last, lead } = this.#window;
    const tick = tickOf(fact.at, this.#window);
    if (tick > last) return;
    for (const { family, curves } of this.#families) {
      for (const { labels, took } of family.feeds(fact) ?? []) {
        const curve = curveOf(curves, family, JSON.stringify(labels));
        if (tick <= first) observe(curve.values, family, took);
        else curve.counts += 1;
        curve.begins = Math.min(curve.begins, Math.max(first, tick - lead));
      }
    }
  }

  /** Second pass: the facts of one block after the other, in the order of their ticks, and only those that come after the first one. */
  mark(fact: Fact): void {
    const tick = tickOf(fact.at, this.#window);
    for (const { family, curves } of this.#families)
      for (const { labels, took } of family.feeds(fact) ?? [])
        curves.get(JSON.stringify(labels))?.marks.push(tick, took);
  }

  /** In the order of the catalog, and of the label values: the same whoever told the facts, and in which order. */
  *sorted(): Generator<Curve> {
    for (const { curves } of this.#families)
      yield* [...curves.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}

/** Applies what happened up to this tick, of the marks from this place on. Returns the place of the first one that is later. */
export function advance({ marks, values, family }: Curve, from: number, tick: number): number {
  let next = from;
  while (next < marks.length && at(marks, next) <= tick) {
    observe(values, family, at(marks, next + 1));
    next += 2;
  }
  return next;
}

const at = (marks: readonly number[], index: number): Micros => marks[index] ?? 0;

function curveOf(curves: Map<string, Drawing>, family: FoldedFamily, key: string): Drawing {
  let curve = curves.get(key);
  if (curve === undefined) {
    const values = new Float64Array(widthOf(family));
    curve = { family, key, values, begins: Number.POSITIVE_INFINITY, counts: 0, marks: [] };
    curves.set(key, curve);
  }
  return curve;
}
