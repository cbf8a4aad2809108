// WAL that was, or may have been, consumed without being counted: said, counted, and either healed from the tables or left to
// an operator.

import { NeedsOperator, Transient } from "../errors.ts";
import type { Totals } from "../metrics/pages.ts";
import type { Context } from "./context.ts";
import type { Gap } from "./judge.ts";

const HOUR_MS = 3_600_000;
/** Reading the tables is cheap once, not over and over: who needs more than this an hour has something to mend. */
const BASELINES_PER_HOUR = 6;

/** Says and counts a gap once, however often and as whatever it is found again before it is healed. */
export function noteGap({ vitals, log }: Pick<Context, "vitals" | "log">, gap: Gap): void {
  const { reason, detail } = gap;
  if (vitals.inGap) return;
  vitals.inGap = true;
  vitals.count(vitals.gaps, reason);
  log.warn("gap: WAL may have passed uncounted", { reason, detail });
}

/**
 * Shows what the ledger has, unless somebody else consumed what it does not have: then the totals are known to be behind.
 * Throws `NeedsOperator` where gaps are not to be healed by themselves.
 */
export function requireHealing(context: Context, gap: Gap, totals: Totals): void {
  const { config, show } = context;
  show(gap.reason === "slot_ahead" ? null : totals);
  const byFlag = config.onGap === "halt" ? "--on-gap halt" : "--baseline none";
  if (config.onGap !== "halt" && config.baseline !== "none") return;
  throw new NeedsOperator(`halted by ${byFlag} at a gap: ${gap.detail}`, {
    reason: "halted",
    hint: "to heal it from the tables, start again with --on-gap baseline and --baseline tables: nothing is counted twice",
  });
}

/** Permits a baseline over a ledger that has one, at most some an hour, also over restarts. Throws `Transient` above that. */
export function admitBaseline({ store }: Pick<Context, "store">, now = Date.now()): void {
  const times = store.baselinesSince(now - HOUR_MS).filter((at) => at <= now);
  if (times.length >= BASELINES_PER_HOUR) {
    const next = new Date(Math.min(...times) + HOUR_MS).toISOString();
    throw new Transient(
      `${times.length} baselines began within an hour, the next may at ${next}: find out what breaks the slot`,
      { reason: "baseline_rate" },
    );
  }
  store.rememberBaselines([...times, now]);
}
