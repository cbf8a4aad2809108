// Prometheus text format 0.0.4, from immutable pages. One writer for our families and for health metrics, so that
// both spell numbers alike: `le` always as "1.0" (Prometheus 2 keeps the string as sent, and text and protobuf must agree).

import { SECOND } from "../change/micros.ts";
import { type Family, fullName } from "./catalog.ts";
import { COUNT, FIRST_BUCKET, PAGE_SIZE, SUM, type Table, type Totals } from "./pages.ts";

/** The exact Content-Type of the text format; Prometheus 3 refuses a page without one. */
export const TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** The page of all families as chunks of at most one storage page each, so that a reader can yield between them. */
export function* renderTotals(totals: Totals, prefix: string): Generator<string> {
  for (const table of totals.tables) {
    const name = fullName(table.family, prefix);
    yield renderHeader(name, table.family);
    for (let page = 0; page * PAGE_SIZE < table.size; page += 1)
      yield renderPage(table, page, name);
  }
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

function renderPage(table: Table, page: number, name: string): string {
  const values = table.pages[page] ?? new Float64Array(0);
  const first = page * PAGE_SIZE;
  const last = Math.min(table.size, first + PAGE_SIZE);
  const write = writerFor(table.family, name);
  let text = "";
  for (let ordinal = first; ordinal < last; ordinal += 1) {
    text += write(table.labels[ordinal] ?? "", values, (ordinal - first) * table.width);
  }
  return text;
}

type SeriesWriter = (labels: string, values: Float64Array, offset: number) => string;

function writerFor(family: Family, name: string): SeriesWriter {
  if (family.type === "histogram") return histogramWriter(name, family.buckets);
  if (family.type === "gauge" && family.value === "oldest") {
    return (labels, values, at) => {
      const oldest = values[at] ?? Number.NaN;
      return Number.isNaN(oldest) ? "" : `${name}{${labels}} ${oldest / SECOND}\n`;
    };
  }
  return (labels, values, at) => `${name}{${labels}} ${values[at]}\n`;
}

function histogramWriter(name: string, bounds: readonly number[]): SeriesWriter {
  const tails = bounds.map((bound) => `,le="${renderBound(bound)}"} `);
  return (labels, values, at) => {
    const head = `${name}_bucket{${labels}`;
    const count = values[at + COUNT] ?? 0;
    let text = "";
    let below = 0;
    for (let i = 0; i < tails.length; i += 1) {
      below += values[at + FIRST_BUCKET + i] ?? 0;
      text += `${head}${tails[i]}${below}\n`;
    }
    const sum = (values[at + SUM] ?? 0) / SECOND;
    return `${text}${head},le="+Inf"} ${count}\n${name}_sum{${labels}} ${sum}\n${name}_count{${labels}} ${count}\n`;
  };
}
