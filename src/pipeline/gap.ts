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
  // Somebody else consumed what the ledger does not have: until that is healed its totals are known to be behind.
  if (reason === "slot_ahead") vitals.behind = true;
  // Not everything up to there is counted, as it turns out.
  vitals.applied = null;
  if (vitals.inGap) return;
  vitals.inGap = true;
  vitals.count(vitals.gaps, reason);
  log.warn("gap: WAL may have passed uncounted", { reason, detail });
}

/** The totals of the ledger, unless they are known to be behind, or an older version has not recorded all that they are of. */
export function showWhileInGap({ vitals, store, config, show }: Context, totals: Totals): void {
  const lacks = !store.ledger.complete && config.baseline !== "none";
  show(vitals.behind || lacks ? null : totals);
}

/** Throws `NeedsOperator` where gaps are not to be healed by themselves. */
export function requireHealing({ config }: Context, gap: Gap): void {
  if (config.onGap !== "halt" && config.baseline !== "none") return;
  const byFlag = config.onGap === "halt" ? "--on-gap halt" : "--baseline none";
  throw new NeedsOperator(`halted by ${byFlag} at a gap: ${gap.detail}`, {
    reason: "halted",
    hint: "to heal it from the tables, start again with --on-gap baseline and --baseline tables: nothing is counted twice",
  });
}

/** Permits a baseline over a ledger that has one, some an hour, also over restarts. Throws `Transient` above that. */
export function requireRate({ store }: Pick<Context, "store">, now = Date.now()): void {
  const times = baselinesOfThisHour(store, now);
  if (times.length < BASELINES_PER_HOUR) return;
  const next = new Date(Math.min(...times) + HOUR_MS).toISOString();
  throw new Transient(
    `${times.length} baselines within an hour, the next may begin at ${next}: find out what breaks the slot`,
    { reason: "baseline_rate" },
  );
}

/** Remembers that the tables are about to be read. Throws `Transient` when the disk refuses: then they should not be. */
export function rememberBaseline({ store }: Pick<Context, "store">, now = Date.now()): void {
  store.rememberBaselines([...baselinesOfThisHour(store, now), now]);
}

function baselinesOfThisHour(store: Context["store"], now: number): readonly number[] {
  return store.baselinesSince(now - HOUR_MS).filter((at) => at <= now);
}
