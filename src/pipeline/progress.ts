// How far a baseline has read: said in the log every while, and in the vitals for as long as it lasts.

import { Transient } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Vitals } from "../metrics/vitals.ts";
import type { RowCounts } from "../postgres/tables.ts";

const SAY_EVERY_MS = 10_000;
/** The server may have much to read and to join before its first row. */
const STALLED_AFTER_MS = 300_000;

export interface ProgressOptions {
  /** Read so far; others add to it. */
  readonly rows: Readonly<RowCounts>;
  /** How many there are about. */
  readonly about: Readonly<RowCounts<number | null>>;
  readonly vitals: Vitals;
  readonly log: Log;
  readonly everyMs?: number;
  /** Called when no row has come for this long: a host that vanished without a word sends none. */
  readonly onStalled: () => void;
  readonly stalledAfterMs?: number | undefined;
}

/** Says it until disposed. */
export function sayProgress(options: ProgressOptions): Disposable {
  const { rows, about, vitals, log, everyMs = SAY_EVERY_MS } = options;
  const watchdog = watchRows(options);
  let before = 0;
  const timer = setInterval(() => {
    const read = rows.builds + rows.agents;
    log.info("baseline progress", {
      builds: rows.builds,
      agents: rows.agents,
      aboutBuilds: about.builds,
      aboutAgents: about.agents,
      rowsPerSecond: Math.round(((read - before) / everyMs) * 1000),
    });
    before = read;
  }, everyMs);
  vitals.baseline = rows;
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      watchdog[Symbol.dispose]();
      vitals.baseline = null;
    },
  };
}

/** What a reading is given up with that has stalled. */
export function noRows(): Transient {
  return new Transient("the server sends no rows", { reason: "silence" });
}

/** Calls back each time that no row has come for so long, until disposed. */
export function watchRows({
  rows,
  onStalled,
  stalledAfterMs = STALLED_AFTER_MS,
}: Pick<ProgressOptions, "rows" | "onStalled" | "stalledAfterMs">): Disposable {
  let before = -1;
  const timer = setInterval(() => {
    const read = rows.builds + rows.agents;
    if (read === before) onStalled();
    before = read;
  }, stalledAfterMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
