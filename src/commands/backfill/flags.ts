// The flags of `backfill` itself, beside the settings that it shares with `serve`: read into values, or all mistakes at once.

import { A_TIME, askedTime, secondsIn } from "../../change/instant.ts";
import { type Micros, SECOND } from "../../change/micros.ts";
import {
  type Config,
  type ConfigInput,
  type RawFlags,
  UsageError,
  parseConfig,
  textOf,
} from "../../config.ts";
import { FORMAT_NAMES, type FormatName } from "../../history/formats.ts";
import type { OwnFlag } from "../flags.ts";

/** Where the facts come from. */
export type From =
  | { readonly kind: "store" }
  | { readonly kind: "tables" }
  | { readonly kind: "slot"; readonly slot: string };

export interface BackfillFlags {
  readonly from: From;
  readonly out: string;
  /** Null: with the first fact. */
  readonly since: Micros | null;
  /** Null: now. */
  readonly until: Micros | null;
  /** Null: by the length of the window. */
  readonly step: Micros | null;
  readonly maxSamples: number;
  readonly format: FormatName;
  readonly labels: readonly (readonly [name: string, value: string])[];
  /** Words of `--families`: whoever names a family wants it, however many series it has. */
  readonly named: ReadonlySet<string>;
}

/** Samples of a year of a deployment with some dozens of templates, with room: 10 GB of text or so. */
const MOST_SAMPLES = 100_000_000;

export const BACKFILL_FLAGS: readonly OwnFlag[] = [
  {
    flags: "--from <source...>",
    between: /\s+/,
    description:
      "store: the ledger of --state, also beside a running serve; tables: what Coder's tables say now; slot NAME: what this slot retains, and the tables (default: store)",
  },
  {
    flags: "--out <folder>",
    description: "write the files here; must not be there yet, or be empty (default: ./backfill)",
  },
  { flags: "--since <time>", description: `begin here: ${A_TIME} (default: the first fact)` },
  {
    flags: "--until <time>",
    description: "end here, before the first sample of the live series (default: now)",
  },
  {
    flags: "--step <duration>",
    description:
      "time between two samples (default: 60s for up to a day, 5m for up to two weeks, else 1h)",
  },
  {
    flags: "--max-samples <count>",
    description: `write nothing if there would be more (default: ${MOST_SAMPLES})`,
  },
  {
    flags: "--format <format>",
    description: `${FORMAT_NAMES.join(" or ")} (default: openmetrics, for promtool)`,
  },
  {
    flags: "--label <name=value>",
    description:
      "a label for every sample, such as job=firstlight and the instance; may be repeated, in the variable by commas",
    repeated: true,
    // A comma may be part of a value: the next label begins where one is followed by a name and =.
    between: /\s*,\s*(?=[^,=\s]+=)/,
  },
];

/** Reads all of it; settings of `serve` are among the flags. Throws `UsageError` with the mistakes of both kinds of flags. */
export function parseBackfill(
  raw: RawFlags,
  { now, ...input }: Pick<ConfigInput, "env" | "readFile" | "beside"> & { readonly now: Micros },
): { readonly config: Config; readonly flags: BackfillFlags } {
  const { from, out, since, until, step, maxSamples, format, label, ...shared } = raw;
  const mistakes: string[] = [];
  const one = <T>(flag: string, text: unknown, must: string, read: (text: string) => T | null) => {
    if (text === undefined) return null;
    const value = read(String(text));
    if (value === null) mistakes.push(`${flag} ${JSON.stringify(text)}: must be ${must}`);
    return value;
  };
  const source = fromOf(listed(from), mistakes);
  const configInput: ConfigInput = {
    ...input,
    flags: shared,
    needsDatabase: source.kind !== "store",
  };
  const flags: BackfillFlags = {
    from: source,
    out: one("--out", out, "the path of a folder", (text) => text || null) ?? "./backfill",
    since: one("--since", since, A_TIME, (text) => askedTime(text, now)),
    until: one("--until", until, A_TIME, (text) => askedTime(text, now)),
    step: one("--step", step, "whole seconds up to a day, e.g. 15s, 5m or 1h", stepOf),
    maxSamples:
      one("--max-samples", maxSamples, "a number above 0, e.g. 200000000", (text) =>
        /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null,
      ) ?? MOST_SAMPLES,
    format:
      one(
        "--format",
        format,
        FORMAT_NAMES.join(" or "),
        (text) => FORMAT_NAMES.find((name) => name === text) ?? null,
      ) ?? "openmetrics",
    labels: labelsOf(listed(label), mistakes),
    named: new Set(
      textOf("families", configInput)
        .split(",")
        .map((word) => word.trim()),
    ),
  };
  if (flags.since !== null && flags.since >= (flags.until ?? now))
    mistakes.push("--since: must be earlier than --until, and than now");
  try {
    const config = parseConfig(configInput);
    if (mistakes.length === 0) return { config, flags };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    mistakes.unshift(...error.mistakes);
  }
  throw new UsageError(mistakes);
}

function listed(value: RawFlags[string]): readonly string[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? (value as readonly string[]) : [String(value)];
}

function fromOf([kind = "store", ...more]: readonly string[], mistakes: string[]): From {
  const [slot] = more;
  if ((kind === "store" || kind === "tables") && more.length === 0) return { kind };
  if (kind === "slot" && slot && more.length === 1) return { kind, slot };
  const given = JSON.stringify([kind, ...more].join(" "));
  mistakes.push(`--from ${given}: must be store, tables, or slot and the name of one`);
  return { kind: "store" };
}

function stepOf(text: string): Micros | null {
  const seconds = secondsIn(text);
  return seconds > 0 && seconds <= 86_400 ? seconds * SECOND : null;
}

/** https://prometheus.io/docs/concepts/data_model/: names with two underscores before them are Prometheus' own. */
const LABEL = /^(?!__)([a-zA-Z_][a-zA-Z0-9_]*)=(.*)$/s;

function labelsOf(
  texts: readonly string[],
  mistakes: string[],
): readonly (readonly [string, string])[] {
  const labels = new Map<string, string>();
  for (const text of texts) {
    const [, name, value = ""] = LABEL.exec(text) ?? [];
    if (name === undefined)
      mistakes.push(`--label ${JSON.stringify(text)}: must be name=value, e.g. job=firstlight`);
    else if (labels.has(name)) mistakes.push(`--label ${name}: is given twice`);
    else labels.set(name, value);
  }
  return [...labels].sort(([a], [b]) => (a < b ? -1 : 1));
}
