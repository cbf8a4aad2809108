// Follows for as long as the process lives: attempts with back-off, and the decision what each failure means.

import { setTimeout as sleep } from "node:timers/promises";
import type { OnUnknown } from "../change/cells.ts";
import { NeedsOperator, Transient } from "../errors.ts";
import { attempt } from "./attempt.ts";
import type { FollowerOptions, Lasting, Signals } from "./context.ts";

const BACK_OFF_FROM_MS = 250;
const BACK_OFF_UP_TO_MS = 30_000;
/** An attempt that lasted this long was a success: the next failure starts from the shortest back-off again. */
const STABLE_MS = 30_000;

/** Reasons that no later attempt may pass over: going on could only count wrongly. */
const FINAL = new Set([
  "system_changed",
  "slot_foreign",
  "slot_permanent",
  "nothing_to_replay",
  "store_damaged",
]);

/** What is in the WAL stays unreadable after the tables were mended: it is passed over, as a gap. */
const UNREADABLE = new Set(["column_missing", "table_unknown", "protocol"]);

/**
 * Runs until `stop` aborts. Throws `NeedsOperator` when the database is unfit at the first attempt, or turns out to be
 * another one; later failures are retried for ever, and said in the log and the vitals.
 */
export async function run(options: FollowerOptions, signals: Signals): Promise<void> {
  const { vitals, log, timing } = options;
  const upTo = timing?.backOffUpToMs ?? BACK_OFF_UP_TO_MS;
  const from = Math.min(BACK_OFF_FROM_MS, upTo);
  const onUnknown = unknownValues(options);
  const lasting: Lasting = { ...options, onUnknown, unplaced: new Map(), unreadable: null };
  let fit = false;
  let backOff = from;
  while (!signals.stop.aborted) {
    const began = performance.now();
    try {
      await attempt(lasting, signals, () => {
        fit = true;
      });
    } catch (error) {
      if (signals.stop.aborted) return;
      const trouble = troubleOf(error, fit);
      if (UNREADABLE.has(trouble.reason)) lasting.unreadable = trouble.message;
      vitals.trouble = trouble;
      vitals.reconnects += 1;
      if (performance.now() - began > STABLE_MS) backOff = from;
      const retryInMs = Math.round(backOff * (1 + Math.random() / 2));
      const { message: problem, ...rest } = trouble;
      log.warn("not following, will try again", { ...rest, problem, retryInMs });
      backOff = Math.min(backOff * 2, upTo);
      await sleep(retryInMs, undefined, { signal: signals.stop }).catch(() => undefined);
    }
  }
}

/** What to say of a failure that is retried; rethrows one that must not be. */
function troubleOf(
  error: unknown,
  fit: boolean,
): NonNullable<FollowerOptions["vitals"]["trouble"]> {
  if (error instanceof NeedsOperator) {
    if (!fit || FINAL.has(error.reason)) throw error;
    return { reason: error.reason, message: error.message, hint: error.hint };
  }
  if (!(error instanceof Transient)) throw error;
  if (!fit) {
    throw new NeedsOperator(`can not begin: ${error.message}`, {
      reason: error.reason,
      hint: "check that the database URL (FIRSTLIGHT_DATABASE_URL) is right and that the server is up and reachable from here",
      cause: error,
    });
  }
  return { reason: error.reason, message: error.message, hint: null };
}

/** Counted each time, logged once for each value. */
function unknownValues({ vitals, log }: FollowerOptions): OnUnknown {
  const logged = new Set<string>();
  return (column, value) => {
    vitals.count(vitals.unknownValues, column);
    if (logged.has(`${column} ${value}`)) return;
    logged.add(`${column} ${value}`);
    log.warn("unknown enum value, which no total depends on", {
      column,
      value,
    });
  };
}
