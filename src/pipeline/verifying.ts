// `--verify-every`: the comparison with the tables, from time to time in the process that follows. It reads what is shown and
// changes nothing; what it finds goes to the log and the vitals.

import { setTimeout as sleep } from "node:timers/promises";
import { NeedsOperator, Transient } from "../errors.ts";
import type { Log } from "../log.ts";
import { formatLsn } from "../lsn.ts";
import type { Vitals } from "../metrics/vitals.ts";
import { describe, driftCount } from "./drift.ts";
import { type Report, type VerifyOptions, verify } from "./verify.ts";

/** How often to look whether we follow again. */
const LOOK_EVERY_MS = 1_000;

export interface VerifyingOptions extends VerifyOptions {
  readonly vitals: Vitals;
  /** Pause before the first and between two. */
  readonly everyMs: number;
}

/** Verifies until the signal aborts or it is disposed, one at a time. Both end one that is under way. */
export function startVerifying(options: VerifyingOptions): AsyncDisposable {
  const done = new AbortController();
  const signal = AbortSignal.any([options.signal, done.signal]);
  const running = loop(options, signal).catch((error: unknown) => {
    if (!signal.aborted) options.log.error("verifying has ended", { error });
  });
  return {
    async [Symbol.asyncDispose]() {
      done.abort();
      await running;
    },
  };
}

async function loop(options: VerifyingOptions, signal: AbortSignal): Promise<void> {
  const { vitals, log, everyMs } = options;
  for (;;) {
    await sleep(everyMs, undefined, { signal });
    while (!vitals.connected || vitals.catchingUp)
      await sleep(LOOK_EVERY_MS, undefined, { signal });
    const began = performance.now();
    try {
      const report = await verify({ ...options, signal });
      vitals.verified = { drift: report.drift, at: Date.now() * 1000 };
      tell(report, { log, seconds: Math.round((performance.now() - began) / 1000) });
    } catch (error) {
      signal.throwIfAborted();
      const classed = error instanceof Transient || error instanceof NeedsOperator;
      const say = classed ? log.warn : log.error;
      say("not verified, will try again", { error, retryInMs: everyMs });
    }
  }
}

function tell(
  report: Report,
  { log, seconds }: { readonly log: Log; readonly seconds: number },
): void {
  const at = formatLsn(report.at);
  for (const { drift, kind: fact, id, ledger, tables } of report.named) {
    const said = { ledger: describe(ledger), tables: describe(tables) };
    log.warn("ledger and tables disagree", { drift, fact, id, ...said, at });
  }
  const { drift, explained } = report;
  log.info("verified", { at, drift: driftCount(report), ...drift, explained, seconds });
}
