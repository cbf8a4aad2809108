// `firstlight verify`: what the comparison of ledger and tables found, for people and for scripts.

import type { Config } from "../config.ts";
import { NeedsOperator, Transient } from "../errors.ts";
import type { Log } from "../log.ts";
import { formatLsn } from "../lsn.ts";
import { DRIFT_KINDS } from "../metrics/vitals.ts";
import { describe, driftCount } from "../pipeline/drift.ts";
import { type Report, verify } from "../pipeline/verify.ts";
import { COMPARED } from "../store/compare.ts";

export interface VerifyCommandOptions {
  readonly config: Config;
  readonly log: Log;
  /** Takes text for standard output. */
  readonly out: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Compares, prints, and returns on how many ids ledger and tables disagree. Throws `NeedsOperator` when it could not. */
export async function verifyCommand({ out, ...options }: VerifyCommandOptions): Promise<number> {
  try {
    const report = await verify(options);
    out(reportText(report));
    return driftCount(report);
  } catch (error) {
    throw error instanceof Transient ? notVerified(error) : error;
  }
}

const HINTS: Readonly<Record<string, string>> = {
  not_following: "look at the log of `serve` and at firstlight_stream_connected, then verify again",
  canceled:
    "a table could not be read within 30 minutes, or somebody canceled it: verify again at a quieter time, or on a replica",
};

function notVerified(error: Transient): NeedsOperator {
  const { message, reason } = error;
  return new NeedsOperator(`not verified: ${message}`, {
    reason,
    hint: HINTS[reason] ?? "verify again once the database can be reached",
    cause: error,
  });
}

/** What is printed. */
export function reportText(report: Report): string {
  const at = formatLsn(report.at);
  const { builds, agents } = report.rows;
  const lines = [
    `tables read at LSN ${at}: ${builds} builds, ${agents} agents`,
    `compared: ${COMPARED.map((kind) => `${kind} ${report.compared[kind]}`).join(", ")}`,
    `explained: ${report.explained} (the stream saw the row change after it was counted)`,
    ...(report.before > 0 ? [`before the ledger began: ${report.before} (--baseline none)`] : []),
    DRIFT_KINDS.map((kind) => `${kind} ${report.drift[kind]}`).join(", "),
    ...DRIFT_KINDS.flatMap((kind) => namedLines(report, kind)),
    `drift ${driftCount(report)} at LSN ${at}`,
  ];
  return `${lines.join("\n")}\n`;
}

function namedLines(report: Report, kind: (typeof DRIFT_KINDS)[number]): string[] {
  const named = report.named.filter(({ drift }) => drift === kind);
  const more = report.drift[kind] - named.length;
  return [
    ...named.map(
      (drift) =>
        `${kind} ${drift.kind} ${drift.id}: ledger ${describe(drift.ledger)}; tables ${describe(drift.tables)}`,
    ),
    ...(more > 0 ? [`… and ${more} more ${kind}`] : []),
  ];
}
