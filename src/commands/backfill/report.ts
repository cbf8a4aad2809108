// What is printed once history is written: how to load it, and what to know before.

import { type Micros, SECOND, formatIso } from "../../change/micros.ts";
import type { FormatName } from "../../history/formats.ts";
import type { Plan, Written } from "../../pipeline/backfill.ts";
import type { BackfillFlags } from "./flags.ts";

export interface Loading extends Written {
  readonly flags: Pick<BackfillFlags, "out" | "format" | "labels" | "step">;
  /** Of the window. */
  readonly first: Micros;
  readonly last: Micros;
  readonly step: Micros;
  readonly blockLength: Micros;
  readonly extension: string;
  readonly now: Micros;
}

export const count = (n: number): string => n.toLocaleString("en-US");

/** In powers of 1000, e.g. `7.2 GB`. */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1_000 && unit < units.length - 1) [value, unit] = [value / 1_000, unit + 1];
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** A time to the second. */
export const moment = (at: Micros): string => formatIso(at).replace(/\.\d+/, "");

const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;
/** Of VictoriaMetrics' `increase()`, and of an instant query of Prometheus. */
const LOOKS_BACK = 300 * SECOND;

/** What will be written, before it is. */
export function howMuch(
  { window, blocks, estimate: { series, samples, bytes } }: Plan,
  { format, step }: { readonly format: FormatName; readonly step: Micros },
): string {
  const [first, last] = [window.first * window.tick, window.last * window.tick];
  const where =
    window.grid === null ? "a sample where something changes" : `a step of ${step / SECOND} s`;
  const most = format === "openmetrics" ? "" : "at most ";
  return (
    `from ${moment(first)} to ${moment(last)}, ${where}: ${count(series)} series, ` +
    `${most}${count(samples)} samples, about ${size(bytes)} in ${blocks.length} files\n`
  );
}

/** The commands that load what was written, and the traps. */
export function howToLoad(loading: Loading): string {
  const { files, samples, bytes, flags } = loading;
  const lines = [
    `${count(samples)} samples, ${size(bytes)}, in ${files.length} files in ${flags.out}; manifest.json tells of each`,
    "",
    ...(flags.format === "openmetrics" ? forPrometheus(loading) : forVictoriaMetrics(loading)),
    "",
    ...identity(flags.labels),
  ];
  return `${lines.join("\n")}\n`;
}

function forPrometheus(loading: Loading): string[] {
  const { flags, step, blockLength, first, now, extension } = loading;
  const keep = Math.ceil((now - first) / DAY) + 1;
  return [
    "To load it, on the disk of Prometheus' data folder (DATA), as the user that Prometheus runs as:",
    "  mkdir DATA/../blocks",
    `  for file in ${quoted(flags.out)}/*.${extension}; do`,
    `    promtool tsdb create-blocks-from --max-block-duration=${blockLength / HOUR}h openmetrics "$file" DATA/../blocks || break`,
    "  done",
    "  mv DATA/../blocks/* DATA/    # within a minute Prometheus has them, and may run meanwhile",
    "promtool's tables tell how many samples it took: their sum must be that of the manifest.",
    "",
    `Before that: Prometheus deletes at once what is older than its retention, 15 days unless told. Samples begin at ${moment(first)}:`,
    `it needs --storage.tsdb.retention.time=${keep}d or more, and a --storage.tsdb.retention.size that has room, if one is set.`,
    ...(step <= LOOKS_BACK
      ? []
      : [
          "",
          `A query looks back 5 minutes, and samples are ${step / SECOND} s apart: ask at multiples of the step, or for last_over_time(x[${step / SECOND}s]).`,
        ]),
  ];
}

function forVictoriaMetrics({ flags, first, last, now, extension }: Loading): string[] {
  const keep = Math.ceil((now - first) / DAY) + 1;
  const range = `[${Math.ceil((last - first) / DAY) + 1}d]`;
  return [
    "To load it:",
    `  for file in ${quoted(flags.out)}/*.${extension}; do`,
    `    curl --fail --silent --show-error --request POST --upload-file "$file" http://127.0.0.1:8428/api/v1/import/prometheus || break`,
    "  done",
    "  curl --fail --silent --show-error http://127.0.0.1:8428/internal/resetRollupResultCache",
    "",
    `Before that: VictoriaMetrics drops what is older than its retention, a month unless told, and answers as if all were well. Samples begin`,
    `at ${moment(first)}: it needs -retentionPeriod=${keep}d or more. Load each file once: it keeps both samples of what is loaded twice.`,
    ...(flags.step !== null && flags.step <= LOOKS_BACK
      ? []
      : [
          "",
          `These samples are further apart than increase() looks back (5 minutes): it guesses wrong on them. Exact over any range is`,
          `last_over_time(x${range}) - last_over_time(x${range} offset 7d), or write with --step 5m, which takes far more room.`,
        ]),
  ];
}

function identity(labels: Loading["flags"]["labels"]): string[] {
  const missing = ["job", "instance"].filter((name) => !labels.some(([given]) => given === name));
  const says =
    "The series go on as the live ones only where all labels are equal: job and instance must be those of the scrape.";
  if (missing.length === 0) return [says];
  return [
    says,
    `These samples have no ${missing.join(" and no ")}: give ${missing.map((name) => `--label ${name}=…`).join(" ")} (neither promtool before 2.55 nor Prometheus adds any).`,
  ];
}

/** As a shell takes it. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
