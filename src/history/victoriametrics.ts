// A block as text for VictoriaMetrics' `/api/v1/import/prometheus`: times in milliseconds, and a sample only where a number
// changes, beside the first one of a series and one of all at the end of the window. `increase()` there is exact on that: it
// takes the last sample before the range, however old.
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
  const ends = block.last === window.last;
  for (const curve of curves) {
    const ticks = ticksOf(curve, block, ends);
    const series = seriesOf(curve, naming);
    let numbers: readonly number[] | null = curve.begins < block.first ? numbersOf(curve) : null;
    let next = 0;
    let text = "";
    let [samples, first] = [0, ticks[0] ?? 0];
    for (const [index, tick] of ticks.entries()) {
      const before = tick === block.last && ends ? null : numbers;
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

/** When it has samples: where it begins, where something happens, and at the end of the window. */
function ticksOf({ begins, marks }: Curve, block: Block, ends: boolean): readonly number[] {
  const ticks = new Set<number>();
  if (begins >= block.first) ticks.add(begins);
  for (let index = 0; index < marks.length; index += 2) ticks.add(marks[index] ?? 0);
  if (ends) ticks.add(block.last);
  return [...ticks];
}
