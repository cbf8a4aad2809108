// `firstlight backfill`: history as files that a time-series database takes.
//
// `backfill` opens the ledger that was asked for; `backfillFrom` takes any ledger and knows nothing of where it comes from.

import { type Micros, SECOND } from "../change/micros.ts";
import { type Config, UsageError } from "../config.ts";
import { NeedsOperator } from "../errors.ts";
import type { Log } from "../log.ts";
import { formatLsn } from "../lsn.ts";
import { FORMATS } from "../history/formats.ts";
import type { Source } from "../history/manifest.ts";
import { type Range, blockLengthFor, stepFor } from "../history/window.ts";
import { createCatalog } from "../metrics/catalog.ts";
import { type Family, type FoldedFamily } from "../metrics/family.ts";
import { type Ledger, plan, writeHistory } from "../pipeline/backfill.ts";
import { requireUnused } from "../pipeline/whole-folder.ts";
import { openHistory } from "../store/history.ts";
import type { BackfillFlags } from "./backfill/flags.ts";
import { terminalProgress } from "./backfill/progress.ts";
import { openTemporary } from "./backfill/temporary.ts";
import { count, howMuch, howToLoad, moment } from "./backfill/report.ts";

/** `promtool` makes blocks of what Prometheus itself may still have in memory otherwise: https://prometheus.io/docs/prometheus/latest/storage/#backfilling-from-openmetrics-format */
const PROMTOOL_TAKES_UNTIL: Micros = 3 * 3_600 * SECOND;

export interface BackfillOptions {
  readonly config: Config;
  readonly flags: BackfillFlags;
  readonly log: Log;
  readonly now: Micros;
  /** Takes text for standard output. */
  readonly out: (text: string) => void;
  /** Takes text for a person's terminal; null: nobody watches. */
  readonly terminal: ((text: string) => void) | null;
  readonly signal: AbortSignal;
}

/** A ledger as it is at one moment, with what is known of it. */
export interface OpenLedger extends Ledger {
  readonly source: Source;
  /** The time of the oldest fact; null: there is none. */
  readonly oldest: Micros | null;
  /** How many facts there are, to tell what remains. */
  readonly count: number;
}

/** Throws `UsageError` for a window that can not be, `NeedsOperator` where somebody must act first. Leaves no half of anything. */
export async function backfill(options: BackfillOptions): Promise<void> {
  const { config, flags } = options;
  // Before anything is read, which may take minutes.
  await requireUnused(flags.out);
  const { from } = flags;
  if (from.kind === "store") return await backfillFile(config.statePath, options);
  await using ledger = await openTemporary(from, options);
  await backfillFile(ledger.path, options);
}

/** A store's file tells itself what it is the ledger of, and up to where. */
async function backfillFile(path: string, options: BackfillOptions): Promise<void> {
  const { kind } = options.flags.from;
  using history = openHistory(path);
  const source = { from: kind, system: history.systemId, lsn: formatLsn(history.end) };
  await backfillFrom({ ...history, source }, options);
}

/** Writes the history of this ledger, or says why not. */
export async function backfillFrom(ledger: OpenLedger, options: BackfillOptions): Promise<void> {
  const { config, flags, out, terminal, signal } = options;
  const { source } = ledger;
  const { families, leftOut } = familiesOf(config, flags);
  refuseLabels(families, flags);
  const { range, said } = rangeOf(ledger, options);
  out(`${count(ledger.count)} facts up to LSN ${source.lsn}\n`);
  for (const line of [...said, ...leftOut]) out(`${line}\n`);
  const step = flags.step ?? stepFor(range);
  const blockLength = blockLengthFor(range);
  const naming = { prefix: config.metricPrefix, labels: flags.labels };
  using progress = terminalProgress(terminal, ledger.count);
  const { format } = flags;
  const everyStep = flags.step !== null;
  const how = { format, range, step, everyStep, blockLength, signal, progress };
  const history = { ledger, families, naming, ...how };
  const planned = await plan(history);
  const { window, curves, estimate } = planned;
  progress.expect(estimate.samples);
  const [first, last] = [window.first * window.tick, window.last * window.tick];
  if (curves.length === 0 || first > last) throw nothing(range, step);
  out(howMuch(planned, { format, step }));
  if (estimate.samples > flags.maxSamples) throw tooMany(estimate, flags.maxSamples);
  const written = await writeHistory(planned, { ...history, out: flags.out, source });
  progress[Symbol.dispose]();
  const { extension } = FORMATS[format];
  const { now } = options;
  out(howToLoad({ ...written, flags, first, last, step, blockLength, extension, now }));
}

/** Totals only: what is there now has no history in the ledger. Those of single workspaces only where somebody names them. */
function familiesOf(
  { agentLabels, families }: Config,
  { named }: BackfillFlags,
): { families: readonly FoldedFamily[]; leftOut: readonly string[] } {
  const catalog = createCatalog({ agentLabels, families });
  const leftOut: string[] = [];
  const isWritten = (family: Family): family is FoldedFamily => {
    const { name, type, labels } = family;
    if (type === "gauge") {
      if (named.has(name)) leftOut.push(`left out: ${name}, a gauge of what is there now`);
      return false;
    }
    // What is hidden live is a sum over its series, which are all in history, if they are asked for.
    if ("hiddenIn" in family) return false;
    if (!labels.includes("workspace_name") || named.has(name)) return true;
    const hint = name.startsWith("agents_") ? ", or --agent-labels template_name,agent_name" : "";
    leftOut.push(
      `left out: ${name}, with a series for each workspace; --families default,${name} has it${hint}`,
    );
    return false;
  };
  return { families: catalog.filter(isWritten), leftOut };
}

function refuseLabels(families: readonly FoldedFamily[], { labels }: BackfillFlags): void {
  const taken = new Set(["le", ...families.flatMap((family) => family.labels)]);
  const mistakes = labels
    .filter(([name]) => taken.has(name))
    .map(([name]) => `--label ${name}: is a label of the metrics themselves`);
  if (mistakes.length > 0) throw new UsageError(mistakes);
}

/** The window, and what is to be said about it. */
function rangeOf(
  { oldest, source }: OpenLedger,
  { flags, now }: Pick<BackfillOptions, "flags" | "now">,
): { range: Range; said: readonly string[] } {
  if (oldest === null)
    throw new NeedsOperator(`the ledger has no fact up to LSN ${source.lsn}`, {
      reason: "ledger_empty",
      hint: "there is no history yet: wait for the first build",
    });
  const said: string[] = [];
  const latest = flags.format === "openmetrics" ? now - PROMTOOL_TAKES_UNTIL : now;
  const asked = flags.until ?? now;
  const until = Math.min(asked, latest);
  if (until < asked)
    said.push(
      flags.format === "openmetrics"
        ? `ends 3 hours ago, at ${moment(until)}, instead of ${moment(asked)}: promtool takes nothing newer`
        : `ends now, at ${moment(until)}, instead of ${moment(asked)}`,
    );
  // With room for the 0 from which the first series grows.
  const since = flags.since ?? oldest - (flags.step ?? stepFor({ since: oldest, until }));
  if (flags.since !== null && since >= until)
    throw new UsageError([
      `--since ${moment(since)}: is within the last 3 hours, of which promtool takes nothing; wait, or give an earlier one`,
    ]);
  return { range: { since, until }, said };
}

function nothing({ since, until }: Range, step: Micros): UsageError {
  return new UsageError([
    `--since, --until: nothing was counted up to ${moment(until)}, or there is no multiple of the step (${step / SECOND} s) from ${moment(since)} to there`,
  ]);
}

function tooMany(
  { samples, families }: { samples: number; families: readonly (readonly [string, number])[] },
  most: number,
): NeedsOperator {
  const largest = families
    .slice(0, 3)
    .map(([name, of]) => `${name} ${count(of)}`)
    .join(", ");
  return new NeedsOperator(
    `${count(samples)} samples are more than --max-samples ${count(most)}; nothing was written`,
    {
      reason: "too_many_samples",
      hint: `give a longer --step, a later --since, fewer --families (most: ${largest}), or a higher --max-samples`,
    },
  );
}
