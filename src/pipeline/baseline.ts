// The one way to begin: facts from the tables inside an exported snapshot at C, inserted or ignored, then the stream from C.
// First start, gap and adoption of an old slot are this one path. All of it is one transaction of the store: a baseline
// that is interrupted leaves no fact. It leaves no slot either, unless it is cut off between the copy of the slot and the
// commit: then the slot is there, at C, and the next start uses it.

import { setImmediate as yieldToLoop } from "node:timers/promises";
import { Transient } from "../errors.ts";
import { type Lsn, formatLsn } from "../lsn.ts";
import { Staged } from "../derive/staged.ts";
import { publicationState } from "../postgres/publication.ts";
import {
  type Exported,
  advanceSlot,
  copySlot,
  dropSlot,
  isLost,
  readSlot,
  serverState,
} from "../postgres/slot.ts";
import { requireSameServer } from "../postgres/walsender.ts";
import { estimateRows, readDeleted } from "../postgres/tables.ts";
import type { Position } from "../store/position.ts";
import type { Write } from "../store/write.ts";
import type { Begun, Context } from "./context.ts";
import { graceOf } from "./deadlines.ts";
import { fillFromTables } from "./fill.ts";
import { rememberBaseline } from "./gap.ts";
import { requireSystem } from "./judge.ts";
import { lostFacts } from "./known.ts";
import { noRows, sayProgress } from "./progress.ts";
import { type Tables, WAITING, openTables, temporaryName } from "./snapshot.ts";

export interface BaselineOptions {
  readonly context: Context;
  /** Whether the ledger has facts already, which then stay as they are. */
  readonly over: Position | null;
  /** See `sharedUpTo` in judge.ts. Absent: nothing can have been lost. */
  readonly sharedUpTo?: Lsn | undefined;
  /** Makes the temporary slot that will be streamed from: then no permanent one is left. Default: one of its own. */
  readonly makeSlot?: () => Promise<Exported>;
}

/** Reads the tables into the ledger and leaves a slot that can be started at the returned position. */
export async function baseline(options: BaselineOptions): Promise<Begun> {
  const { context, over } = options;
  const { session, store, config, vitals, log, answer } = context;
  // Before the snapshot: if it changes later, the check after START sees another fingerprint and begins again.
  const { fingerprint } = await publicationState(session, config.publication);
  if (!options.makeSlot) await requireFree(context);
  const stalled = new AbortController();
  await using tables = await tablesOf(options, stalled.signal);
  // Whoever answered before: this is the server whose tables would be read.
  requireSystem(answer.system, tables.system);
  requireSameServer(answer.server, tables.server);
  if (over) rememberBaseline(context);

  using write = store.begin({ bulk: true });
  if (!over && store.retires)
    for await (const ids of readDeleted(tables.reader)) write.leaveOut(ids);
  await readInto(write, { context, tables, stalled });
  const lost =
    options.sharedUpTo === undefined
      ? []
      : await lostFacts(tables.reader, store, options.sharedUpTo);
  await tables.reader.query("commit");

  const staged = new Staged(store.ledger.state);
  staged.add({ facts: [], sightings: lost, put: [], drop: [] });
  write.add(staged);
  write.whole(true);
  if (over) for (const _ of write.rebase(tables.consistent)) await yieldToLoop();
  const position: Position = {
    ...tables.system,
    // A standby that was promoted while we waited for the snapshot: what it had is in the history that it writes now.
    timeline: Math.max(tables.system.timeline, (await serverState(session)).timeline),
    server: answer.server.address,
    database: context.database,
    slot: config.slot,
    publication: fingerprint ?? "",
    consistent: tables.consistent,
    end: tables.consistent,
  };
  for (const _ of write.settle()) await yieldToLoop();
  await using slot = options.makeSlot ? null : await leaveSlot(context, tables);
  const totals = write.commit(position);
  slot?.keep();
  // The checkpoint at the end of the write is another pause.
  await yieldToLoop();
  log.info("baseline complete", { consistent: formatLsn(tables.consistent), lost: lost.length });
  vitals.baselines += 1;
  // Positions of before may be of another history of the server.
  vitals.received = null;
  vitals.applied = null;
  vitals.waiting = store.counts.waiting;
  vitals.divergent = store.counts.divergent;
  return { position, totals, start: tables.consistent };
}

/** Before anything is read: in the end the slot must be ours. */
async function requireFree({ session, config }: Context): Promise<void> {
  const slot = await readSlot(session, config.slot);
  if (slot === null || slot.activePid === null) return;
  throw new Transient("the slot is held by another process", { reason: "slot_in_use" });
}

async function tablesOf(
  { context, makeSlot }: BaselineOptions,
  stalled: AbortSignal,
): Promise<Tables> {
  const { clientConfig, config, vitals, log, signals } = context;
  const signal = AbortSignal.any([signals.stop, signals.abandon, stalled]);
  log.info("baseline begins, waiting for open transactions to end", { slot: config.slot });
  const tables = await openTables({
    clientConfig,
    temporarySlot: temporaryName(config.slot, "baseline"),
    log,
    onWaiting: () => {
      vitals.trouble = WAITING;
    },
    makeSlot,
    signal,
  });
  vitals.trouble = null;
  return tables;
}

interface Reading {
  readonly context: Context;
  readonly tables: Tables;
  /** Aborted here when no row comes any more: ends the sessions of `tables`. */
  readonly stalled: AbortController;
}

async function readInto(write: Write, { context, tables, stalled }: Reading): Promise<void> {
  const { store, signals, onUnknown, vitals, log, timing } = context;
  const rows = { builds: 0, agents: 0 };
  const about = await estimateRows(tables.reader);
  const onStalled = (): void => stalled.abort(noRows());
  const stalledAfterMs = timing?.silenceMs;
  using _progress = sayProgress({ rows, about, vitals, log, onStalled, stalledAfterMs });
  const filling = { store, tables, rows, onUnknown, grace: graceOf(timing), signal: signals.stop };
  await fillFromTables(write, filling);
  log.info("the tables are read", { ...rows });
}

/** A slot that was left for a commit that may still fail. Disposing drops it again if it was made here and not kept. */
interface LeftSlot extends AsyncDisposable {
  keep(): void;
}

/** Leaves the permanent slot at C: the one that is there if it is valid, else a copy of the temporary one. */
async function leaveSlot(
  { session, config }: Context,
  { slot: temporary, consistent, reader }: Tables,
): Promise<LeftSlot> {
  const existing = await readSlot(session, config.slot);
  const valid = existing && !isLost(existing);
  // Nobody starts below C by mistake, whatever happens next: the WAL in between may hold what made the gap.
  if (valid && existing.confirmed < consistent) await advanceSlot(reader, config.slot, consistent);
  if (existing && !valid) await dropSlot(session, config.slot);
  if (!valid) await copySlot(session, { from: temporary, to: config.slot, temporary: false });
  let made = !valid;
  return {
    keep() {
      made = false;
    },
    async [Symbol.asyncDispose]() {
      // With no commit nobody would know of it, and it would hold back WAL for ever.
      if (made) await dropSlot(session, config.slot).catch(() => undefined);
    },
  };
}
