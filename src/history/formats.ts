// The formats that history is written in, as data.

import type { Micros } from "../change/micros.ts";
import type { Curve } from "./curves.ts";
import { type Chunk, type Naming, linesPerTick, seriesOf } from "./lines.ts";
import { openMetrics } from "./openmetrics.ts";
import { victoriaMetrics } from "./victoriametrics.ts";
import { type Block, type Range, type Window, exactWindow, steppedWindow } from "./window.ts";

export const FORMAT_NAMES = ["openmetrics", "victoriametrics"] as const;
export type FormatName = (typeof FORMAT_NAMES)[number];

export interface Format {
  /** Of its files' names. */
  readonly extension: string;
  /** `everyStep`: somebody asked for this very step. */
  readonly window: (range: Range, step: Micros, everyStep: boolean) => Window;
  readonly render: (
    /** Those that it writes in this block. */
    curves: Iterable<Curve>,
    block: Block,
    how: { readonly window: Window; readonly naming: Naming },
  ) => Generator<Chunk>;
  /** Whether a curve, marked, has samples in a block. */
  readonly writes: (curve: Curve, block: Block, window: Window) => boolean;
  /** Ticks at which a curve of a surveyed window has samples, at most. */
  readonly points: (curve: Curve, window: Window) => number;
  /** Characters of a sample's time. */
  readonly stamp: number;
}

export const FORMATS: Readonly<Record<FormatName, Format>> = {
  openmetrics: {
    extension: "om",
    window: steppedWindow,
    render: openMetrics,
    writes: ({ begins }, block) => begins <= block.last,
    points: ({ begins }, { last }) => last - begins + 1,
    stamp: 10,
  },
  victoriametrics: {
    extension: "prom",
    window: exactWindow,
    render: victoriaMetrics,
    writes: ({ begins, marks }, block, window) =>
      begins <= block.last &&
      (window.grid !== null ||
        begins >= block.first ||
        marks.length > 0 ||
        block.last === window.last),
    // Its first, its last, and those between, where not all of its numbers change.
    points: ({ begins, counts }, { last, grid }) =>
      counts + 2 + (grid === null ? 0 : Math.floor((last - begins) / grid)),
    stamp: 13,
  },
};

export interface Estimate {
  /** At most; exact where there is a sample at every tick. */
  readonly samples: number;
  /** About. */
  readonly bytes: number;
  readonly series: number;
  /** Samples of each family that has any, by its name without prefix, most first. */
  readonly families: readonly (readonly [name: string, samples: number])[];
}

/** Digits of a number, about. */
const NUMBER = 4;
/** Two spaces and the end of the line. */
const BETWEEN = 3;

/** How much will be written of these curves. */
export function estimate(
  curves: Iterable<Curve>,
  format: Format,
  { window, naming }: { readonly window: Window; readonly naming: Naming },
): Estimate {
  const families = new Map<string, number>();
  let [samples, bytes, series] = [0, 0, 0];
  for (const curve of curves) {
    const lines = linesPerTick(curve.family);
    const points = format.points(curve, window);
    const text = seriesOf(curve, naming).reduce((sum, { length }) => sum + length, 0);
    series += lines;
    samples += lines * points;
    bytes += points * (text + lines * (NUMBER + BETWEEN + format.stamp));
    families.set(curve.family.name, (families.get(curve.family.name) ?? 0) + lines * points);
  }
  return { samples, bytes, series, families: [...families].sort(([, a], [, b]) => b - a) };
}
