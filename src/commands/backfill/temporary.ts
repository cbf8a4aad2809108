// The ledger of a history that no store has: made for as long as it is read, with a line on the terminal of how far that is.

import type { Config } from "../../config.ts";
import type { Log } from "../../log.ts";
import { ledgerFromSlot } from "../../pipeline/ledger-from-slot.ts";
import { ledgerFromTables } from "../../pipeline/ledger-from-tables.ts";
import { LedgerProgress, ProgressLines } from "../../pipeline/ledger-progress.ts";
import type { TemporaryLedger } from "../../pipeline/temporary-ledger.ts";
import type { From } from "./flags.ts";
import { AGAIN } from "./progress.ts";

const EVERY_MS = 1_000;

export interface TemporaryOptions {
  readonly config: Config;
  readonly log: Log;
  /** Takes text for a person's terminal; null: nobody watches. */
  readonly terminal: ((text: string) => void) | null;
  readonly signal: AbortSignal;
}

/** Reads the tables, or a slot and then the tables. Disposing removes the ledger. Throws `NeedsOperator`, or the signal's reason. */
export async function openTemporary(
  from: Exclude<From, { readonly kind: "store" }>,
  { config, log, terminal, signal }: TemporaryOptions,
): Promise<TemporaryLedger> {
  const progress = new LedgerProgress();
  using _lines = sayLines(progress, terminal);
  const options = { config, log, progress, signal };
  // Awaited here: the lines are said until it is there.
  return await (from.kind === "slot"
    ? ledgerFromSlot({ ...options, slot: from.slot })
    : ledgerFromTables(options));
}

function sayLines(progress: LedgerProgress, terminal: TemporaryOptions["terminal"]): Disposable {
  if (!terminal) return { [Symbol.dispose]: () => undefined };
  const lines = new ProgressLines(progress);
  const timer = setInterval(() => terminal(AGAIN + lines.line(performance.now())), EVERY_MS);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      terminal(AGAIN);
    },
  };
}
