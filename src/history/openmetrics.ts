// A block as OpenMetrics text for `promtool tsdb create-blocks-from openmetrics`: a sample of every series at every tick, with
// its time in whole seconds. Curve by curve, and within a curve tick by tick, as the format wants it; `promtool` drops in silence
// what is not in order of time.
//
// https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md

import { SECOND } from "../change/micros.ts";
import { type FoldedFamily, fullName } from "../metrics/family.ts";
import { type Curve, advance } from "./curves.ts";
import { type Chunk, type Naming, numbersOf, plain, seriesOf } from "./lines.ts";
import type { Block, Window } from "./window.ts";

/** Text is handed out in pieces of about this length. */
const PIECE = 65_536;

/** The whole file; the curves have advanced to the block's end by then. */
export function* openMetrics(
  curves: Iterable<Curve>,
  block: Block,
  { window, naming }: { readonly window: Window; readonly naming: Naming },
): Generator<Chunk> {
  const stamps: string[] = [];
  for (let tick = block.first; tick <= block.last; tick += 1)
    stamps.push(`${(tick * window.tick) / SECOND}\n`);
  let family: FoldedFamily | null = null;
  for (const curve of curves) {
    if (curve.family !== family) {
      family = curve.family;
      yield plain(headerOf(family, naming.prefix));
    }
    yield* samplesOf(curve, block, { stamps, series: seriesOf(curve, naming) });
    curve.marks.length = 0;
  }
  yield plain("# EOF\n");
}

/** The name of a counter is without the `_total` of its samples. */
function headerOf(family: FoldedFamily, prefix: string): string {
  const name = fullName(family, prefix);
  const told = family.type === "counter" ? name.replace(/_total$/, "") : name;
  const help = family.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
  return `# TYPE ${told} ${family.type}\n# HELP ${told} ${help}\n`;
}

function* samplesOf(
  curve: Curve,
  block: Block,
  { stamps, series }: { readonly stamps: readonly string[]; readonly series: readonly string[] },
): Generator<Chunk> {
  let lines: string[] = [];
  let next = 0;
  let text = "";
  let first = Math.max(curve.begins, block.first);
  for (let tick = first; tick <= block.last; tick += 1) {
    const before = next;
    next = advance(curve, next, tick);
    if (lines.length === 0 || next > before) {
      const numbers = numbersOf(curve);
      lines = series.map((each, index) => `${each} ${numbers[index]} `);
    }
    const stamp = stamps[tick - block.first] ?? "";
    text += lines.join(stamp) + stamp;
    if (text.length < PIECE && tick < block.last) continue;
    yield { text, samples: lines.length * (tick - first + 1), first, last: tick };
    text = "";
    first = tick + 1;
  }
}
