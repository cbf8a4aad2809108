// A block as text for VictoriaMetrics' `/api/v1/import/prometheus`: times in milliseconds, and a sample only where a number
// changes, beside the first one of a series and one of all at the end of the window; where a step was asked for, also at every step.
//
// Sparse is enough for `last_over_time()`, and so for differences of it. `increase()` is another matter: it looks at most five
// minutes (-search.minStalenessInterval) before its range for the number to count from, and else guesses that it was 0 or the first
// one within. It is exact where there is a sample every five minutes.
//
// https://docs.victoriametrics.com/#how-to-import-data-in-prometheus-exposition-format

import { type Curve, advance } from "./curves.ts";
import { type Chunk, type Naming, numbersOf, seriesOf } from "./lines.ts";
import type { Block, Window } from "./window.ts";

/** Text is handed out in pieces of about this length. */
const PIECE = 65_536;

/** The whole file; the curves have advanced to the block's end by then. Ticks are milliseconds. */
export function* victoriaMetrics(
  curves: Iterable<Curve>,
  block: Block,
  { window, naming }: { readonly window: Window; readonly naming: Naming },
): Generator<Chunk> {
  for (const curve of curves) {
    const whole = wholeTicks(curve, block, window);
    const ticks = [...new Set([...whole, ...markedTicks(curve)])].sort((a, b) => a - b);
    const series = seriesOf(curve, naming);
    let numbers: readonly number[] | null = curve.begins < block.first ? numbersOf(curve) : null;
    let next = 0;
    let text = "";
    let [samples, first] = [0, ticks[0] ?? 0];
    for (const [index, tick] of ticks.entries()) {
      const before = whole.has(tick) ? null : numbers;
      next = advance(curve, next, tick);
      numbers = numbersOf(curve);
      for (const [line, number] of numbers.entries()) {
        if (number === before?.[line]) continue;
        text += `${series[line]} ${number} ${tick}\n`;
        samples += 1;
      }
      if (text.length < PIECE && index < ticks.length - 1) continue;
      yield { text, samples, first, last: tick };
      text = "";
      [samples, first] = [0, ticks[index + 1] ?? 0];
    }
    curve.marks.length = 0;
  }
}

/** When it has a sample of each line: where it begins, at every step if one was asked for, and at the end of the window. */
function wholeTicks({ begins }: Curve, block: Block, { last, grid }: Window): ReadonlySet<number> {
  const ticks = new Set<number>();
  if (begins >= block.first) ticks.add(begins);
  if (grid !== null) {
    const first = Math.ceil(Math.max(begins, block.first) / grid) * grid;
    for (let tick = first; tick <= block.last; tick += grid) ticks.add(tick);
  }
  if (block.last === last) ticks.add(last);
  return ticks;
}

function* markedTicks({ marks }: Curve): Generator<number> {
  for (let index = 0; index < marks.length; index += 2) yield marks[index] ?? 0;
}
