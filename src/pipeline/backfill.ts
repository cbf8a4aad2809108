// History from a ledger to files: facts, folded in the order of their own times, block by block.
//
// `plan` reads the ledger once and says how much there is to write; `writeHistory` reads what lies in the window once more and
// writes it. Both are of the ledger as it was opened.

import { setImmediate as breathe } from "node:timers/promises";
import { type Micros, SECOND, formatIso } from "../change/micros.ts";
import type { Fact } from "../derive/fact.ts";
import { type Curve, Curves } from "../history/curves.ts";
import { type Estimate, FORMATS, type FormatName, estimate } from "../history/formats.ts";
import type { Chunk, Naming } from "../history/lines.ts";
import { type Source, type WrittenFile, manifest } from "../history/manifest.ts";
import { type Block, type Range, type Window, blocksOf, tickOf } from "../history/window.ts";
import type { FoldedFamily } from "../metrics/family.ts";
import { openWholeFolder } from "./whole-folder.ts";

/** Facts taken before others may run. */
const AT_ONCE = 2_000;
const HOUR = 3_600 * SECOND;

/** What history is made from: a ledger as it is at one moment, whatever is written to it meanwhile. */
export interface Ledger {
  /** All facts, in any order. */
  facts(): Iterable<Fact>;
  /** Those after the first time and up to the second one, in the order of their times. */
  between(after: Micros, upTo: Micros): Iterable<Fact>;
  /** Throws when what was read was not of one moment: asked before the files get their name. */
  requireSteady(): void;
}

export interface HistoryOptions {
  readonly ledger: Ledger;
  readonly families: readonly FoldedFamily[];
  readonly naming: Naming;
  readonly format: FormatName;
  readonly range: Range;
  readonly step: Micros;
  /** Somebody asked for this very step. */
  readonly everyStep: boolean;
  readonly blockLength: Micros;
  readonly signal: AbortSignal;
  readonly progress?: Progress | undefined;
}

/** What is said while it works. */
export interface Progress {
  /** Facts looked at for the plan. */
  surveyed(facts: number): void;
  /** Facts and samples written so far. */
  wrote(facts: number, samples: number): void;
}

export interface Plan {
  readonly window: Window;
  /** From the first one on in which something is counted. */
  readonly blocks: readonly Block[];
  /** In the order in which they are written. */
  readonly curves: readonly Curve[];
  readonly estimate: Estimate;
  /** As the ledger told them, to be marked. */
  readonly drawn: Curves;
}

/** Reads the whole ledger; throws the signal's reason when it aborts. */
export async function plan(options: HistoryOptions): Promise<Plan> {
  const { ledger, families, naming, range, step, everyStep, blockLength } = options;
  const { signal, progress } = options;
  const format = FORMATS[options.format];
  const window = format.window(range, step, everyStep);
  const drawn = new Curves(families, window);
  let facts = 0;
  for (const fact of ledger.facts()) {
    drawn.survey(fact);
    facts += 1;
    if (facts % AT_ONCE > 0) continue;
    progress?.surveyed(facts);
    await breathe();
    signal.throwIfAborted();
  }
  const curves = [...drawn.sorted()];
  const begins = curves.reduce((least, curve) => Math.min(least, curve.begins), window.last + 1);
  return {
    window,
    blocks: [...blocksOf(window, blockLength)].filter(({ last }) => last >= begins),
    curves,
    estimate: estimate(curves, format, { window, naming }),
    drawn,
  };
}

export interface Written {
  readonly files: readonly WrittenFile[];
  readonly samples: number;
  readonly bytes: number;
}

/** Writes a plan, once, to a folder that appears when all of it is durable. Throws `NeedsOperator` where it can not be written. */
export async function writeHistory(
  { window, blocks, curves, drawn }: Plan,
  options: HistoryOptions & { readonly out: string; readonly source: Source },
): Promise<Written> {
  const { ledger, format, naming, step, blockLength, signal, out, source, progress } = options;
  const { extension, render, writes } = FORMATS[format];
  await using folder = await openWholeFolder(out, signal);
  using facts = new Reader(ledger.between(window.first * window.tick, window.last * window.tick));
  const files: WrittenFile[] = [];
  let samples = 0;
  for (const block of blocks) {
    for (const fact of facts.while(({ at }) => tickOf(at, window) <= block.last)) {
      drawn.mark(fact);
      if (facts.taken % AT_ONCE > 0) continue;
      progress?.wrote(facts.taken, samples);
      await breathe();
      signal.throwIfAborted();
    }
    const written = curves.filter((curve) => writes(curve, block, window));
    if (written.length === 0) continue;
    const counted = new Count((more) => progress?.wrote(facts.taken, samples + more));
    const name = `firstlight-${nameOf(block)}.${extension}`;
    const chunks = render(written, block, { window, naming });
    const { bytes, sha256 } = await folder.write(name, counted.texts(chunks));
    const [first, last] = [counted.first * window.tick, counted.last * window.tick];
    files.push({ name, samples: counted.samples, bytes, sha256, first, last });
    samples += counted.samples;
  }
  const [stepSeconds, blockHours] = [step / SECOND, blockLength / HOUR];
  const described = { source, format, naming, window, stepSeconds, blockHours, files };
  await folder.write("manifest.json", manifest(described, curves));
  ledger.requireSteady();
  await folder.publish();
  return { files, samples, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** `20260821T10Z`: blocks begin at full hours. */
function nameOf({ start }: Block): string {
  return `${formatIso(start).slice(0, 13).replaceAll("-", "")}Z`;
}

/** Facts as far as they are wanted; what comes after is left for the next who asks. */
class Reader implements Disposable {
  /** Handed out so far. */
  taken = 0;
  readonly #facts: Iterator<Fact>;
  #next: Fact | null = null;

  constructor(facts: Iterable<Fact>) {
    this.#facts = facts[Symbol.iterator]();
  }

  *while(wanted: (fact: Fact) => boolean): Generator<Fact> {
    for (;;) {
      if (this.#next === null) {
        const { done, value } = this.#facts.next();
        if (done === true) return;
        this.#next = value;
      }
      const fact = this.#next;
      if (!wanted(fact)) return;
      this.#next = null;
      this.taken += 1;
      yield fact;
    }
  }

  [Symbol.dispose](): void {
    this.#facts.return?.();
  }
}

/** What is in the texts that pass. */
class Count {
  samples = 0;
  first = Number.POSITIVE_INFINITY;
  last = Number.NEGATIVE_INFINITY;
  readonly #onMore: (samples: number) => void;

  constructor(onMore: (samples: number) => void) {
    this.#onMore = onMore;
  }

  *texts(chunks: Iterable<Chunk>): Generator<string> {
    for (const { text, samples, first, last } of chunks) {
      this.samples += samples;
      this.first = Math.min(this.first, first);
      this.last = Math.max(this.last, last);
      this.#onMore(this.samples);
      yield text;
    }
  }
}
