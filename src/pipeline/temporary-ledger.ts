// A ledger for as long as somebody reads it: in a store of its own, in a temporary folder. Filled by the code that fills the real one.

import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { NeedsOperator, Transient } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Lsn } from "../lsn.ts";
import type { System } from "../postgres/walsender.ts";
import { guard } from "../store/file.ts";
import type { Position } from "../store/position.ts";
import { Store } from "../store/store.ts";
import type { Write } from "../store/write.ts";
import type { LedgerProgress } from "./ledger-progress.ts";

export interface LedgerOptions {
  readonly config: Pick<Config, "database" | "slot" | "publication">;
  readonly log: Log;
  /** Written as it goes. */
  readonly progress: LedgerProgress;
  /** For tests: how long the server may be silent before a query is asked after, and how long look-ups may take. A minute each. */
  readonly timing?: { readonly silenceMs: number; readonly answerWithinMs: number };
  /** Ends it at once; nothing is left on the server or on disk. */
  readonly signal: AbortSignal;
}

/** Disposing removes it. */
export interface TemporaryLedger extends AsyncDisposable {
  /** A store's file at rest: written with no family, so nothing is folded from it yet. */
  readonly path: string;
  /** Everything before this position is in the ledger. */
  readonly at: Lsn;
  readonly system: System;
}

/** What fills the ledger, in one write. Gives the position up to which it then tells everything. */
export type Fill = (write: Write, store: Store) => Promise<Position>;

/**
 * Makes a ledger in the folder for temporary files (`TMPDIR`), which nobody else may enter; only SIGKILL or a crash of the machine leaves
 * one behind, named firstlight-backfill-…. It is not tried again, so whatever time might heal is said to whoever asked for it. Throws
 * `NeedsOperator`, or the signal's reason.
 */
export async function makeLedger(signal: AbortSignal, fill: Fill): Promise<TemporaryLedger> {
  try {
    await using stack = new AsyncDisposableStack();
    const folder = guard(tmpdir(), () => mkdtempSync(join(tmpdir(), "firstlight-backfill-")));
    stack.defer(async () => rm(folder, { recursive: true, force: true }));
    const path = join(folder, "ledger.db");
    const { end: at, systemId, timeline } = await written(path, fill);
    const owned = stack.move();
    const system = { systemId, timeline };
    return { path, at, system, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  } catch (error) {
    throw signal.aborted ? signal.reason : final(error);
  }
}

async function written(path: string, fill: Fill): Promise<Position> {
  using store = Store.open({ path, catalog: [] });
  store.load();
  using write = store.begin({ bulk: true });
  const position = await fill(write, store);
  write.commit(position);
  return position;
}

function final(error: unknown): unknown {
  if (error instanceof NeedsOperator && STORE.has(error.reason))
    return giveUp(error, `no temporary ledger: ${error.message}`, ROOM);
  if (!(error instanceof Transient)) return error;
  return giveUp(error, `history was not read: ${error.message}`, HINTS[error.reason] ?? AGAIN);
}

function giveUp(cause: NeedsOperator | Transient, message: string, hint: string): NeedsOperator {
  return new NeedsOperator(message, { reason: cause.reason, hint, cause });
}

const STORE: ReadonlySet<string> = new Set(["store_not_writable", "store_on_network"]);
const AGAIN = "nothing was left behind: run it again once the database can be reached";
const ROOM =
  "set TMPDIR to a folder on a local disk, with about 1 kB of room for each workspace build (twice the ledger's size, for a while)";
const HINTS: Readonly<Record<string, string>> = {
  store: ROOM,
  conflict:
    "replay on this standby stood against the reading for longer than it may wait: run it again at a quieter time, let it wait meanwhile (on the standby: alter system set max_standby_streaming_delay = '1h'; select pg_reload_conf();), set hot_standby_feedback = on there, or read the primary",
  canceled:
    "somebody canceled the reading, or a timeout did: run it again at a quieter time, or on a replica",
  no_answer:
    "nothing was left behind: the server, or the network to it, gave no answer in time; run it again once it does",
  silence: "look at pg_stat_activity for what the reading waits for, then run it again",
};
