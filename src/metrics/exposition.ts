// Prometheus text format 0.0.4, from immutable pages. One writer for our families and for health metrics, so that
// both spell numbers alike: `le` always as "1.0" (Prometheus 2 keeps the string as sent, and text and protobuf must agree).
//
// Text is joined series by series and written into one buffer that is used again and again: 190 MB took 0.11 s of CPU.
// Writing bytes, digits and labels by hand took as long; a string for each page took no less, and 35 MB more.

import { SECOND } from "../change/micros.ts";
import { type Family, fullName } from "./family.ts";
import { COUNT, FIRST_BUCKET, PAGE_SIZE, SUM, type Totals } from "./pages.ts";

/** The exact Content-Type of the text format; Prometheus 3 refuses a page without one. */
export const TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** A UTF-16 unit takes at most three bytes of UTF-8. */
const BYTES_PER_UNIT = 3;
const KEPT_COUNTS = 256;

/**
 * A stretch of the exposition. Two with the same `of` and `count` have the same text, under one prefix: whoever has made something
 * of it may keep that. A page that was published never changes, but series may be born at 0 behind its last one.
 */
export interface Part {
  readonly of: object;
  /** Texts that it is made of. */
  readonly count: number;
  /** One of them: whole lines, a few kilobytes. */
  readonly text: (index: number) => string;
}

/** All families, each as its header and its storage pages. */
export function* partsOf(totals: Totals, prefix: string): Generator<Part> {
  for (const { family, labels, pages, size, width } of totals.tables) {
    const name = fullName(family, prefix);
    yield { of: family, count: 1, text: () => renderHeader(name, family) };
    const write = writerFor(family, name);
    for (const [index, page] of pages.entries()) {
      const first = index * PAGE_SIZE;
      yield {
        of: page,
        count: Math.min(size - first, PAGE_SIZE),
        text: (i) => write(labels[first + i] ?? "", page, i * width),
      };
    }
  }
}

/** A part as UTF-8 in chunks of at most the buffer's size, each valid until the next is asked for: the buffer is used again. */
export function* packed({ count, text }: Part, buffer: Buffer): Generator<Uint8Array> {
  let used = 0;
  for (let i = 0; i < count; i += 1) {
    const next = text(i);
    const most = next.length * BYTES_PER_UNIT;
    if (used > 0 && used + most > buffer.length) {
      yield buffer.subarray(0, used);
      used = 0;
    }
    if (most > buffer.length) yield Buffer.from(next);
    else used += buffer.write(next, used);
  }
  if (used > 0) yield buffer.subarray(0, used);
}

/** HELP and TYPE lines. */
export function renderHeader(
  name: string,
  about: { readonly help: string; readonly type: string },
): string {
  const help = about.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return `# HELP ${name} ${help}\n# TYPE ${name} ${about.type}\n`;
}

/** A number as the text format wants it. */
export function renderNumber(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return "NaN";
  return value > 0 ? "+Inf" : "-Inf";
}

/** A bucket bound as OpenMetrics spells it: `1.0`, `0.5`, `+Inf`. */
export function renderBound(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : renderNumber(bound);
}

type SeriesWriter = (labels: string, values: Float64Array, offset: number) => string;

function writerFor(family: Family, name: string): SeriesWriter {
  if (family.type === "histogram") return histogramWriter(name, family.buckets);
  if (family.type === "gauge") {
    const unit = family.value === "oldest" ? SECOND : 1;
    return (labels, values, at) => {
      const value = values[at] ?? Number.NaN;
      return Number.isNaN(value) ? "" : `${name}{${labels}} ${value / unit}\n`;
    };
  }
  return (labels, values, at) => {
    const value = values[at] ?? Number.NaN;
    return Number.isNaN(value) ? "" : `${name}{${labels}} ${value}\n`;
  };
}

function histogramWriter(name: string, bounds: readonly number[]): SeriesWriter {
  const next = `\n${name}_bucket{`;
  const buckets = bounds.map((bound) => counted(`,le="${renderBound(bound)}"} `, next));
  const all = counted(',le="+Inf"} ', `\n${name}_sum{`);
  return (labels, values, at) => {
    if (Number.isNaN(values[at + COUNT])) return "";
    let text = `${name}_bucket{${labels}`;
    let below = 0;
    for (const [i, bucket] of buckets.entries()) {
      below += values[at + FIRST_BUCKET + i] ?? 0;
      text += bucket(below) + labels;
    }
    const count = values[at + COUNT] ?? 0;
    const sum = (values[at + SUM] ?? 0) / SECOND;
    return `${text}${all(count)}${labels}} ${sum}\n${name}_count{${labels}} ${count}\n`;
  };
}

/** Writes a count between two texts. What was written for small counts is kept: most series have no others. */
function counted(before: string, after: string): (count: number) => string {
  const kept: (string | undefined)[] = Array.from({ length: KEPT_COUNTS });
  // Joined, the text is flat; it is copied ten times faster than a chain of three.
  const write = (count: number): string => [before, count, after].join("");
  return (count) => (count < KEPT_COUNTS ? (kept[count] ??= write(count)) : write(count));
}
