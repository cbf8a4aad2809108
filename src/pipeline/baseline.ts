// The one way to begin: facts from the tables inside an exported snapshot at C, inserted or ignored, then the stream from C.
// First start, gap and adoption of an old slot are this one path. All of it is one transaction of the store: a baseline
// that is interrupted leaves no fact. It leaves no slot either, unless it is cut off between the copy of the slot and the
// commit: then the slot is there, at C, and the next start uses it.

import { setImmediate as yieldToLoop } from "node:timers/promises";
import { type Lsn, formatLsn } from "../lsn.ts";
import { step } from "../derive/step.ts";
import { Staged } from "../derive/staged.ts";
import { NOTHING_KNOWN } from "../derive/state.ts";
import { publicationState } from "../postgres/publication.ts";
import { type Snapshot, copySlot, dropSlot, readSlot } from "../postgres/slot.ts";
import type { Position } from "../store/position.ts";
import type { Write } from "../store/store.ts";
import type { Begun, Context } from "./context.ts";
import { requireSystem } from "./judge.ts";
import { lostFacts } from "./known.ts";
import {
  type Tables,
  WAITING,
  openTables,
  tableEvents,
  tablesInside,
  temporaryName,
} from "./snapshot.ts";

export interface BaselineOptions {
  readonly context: Context;
  /** Whether the ledger has facts already, which then stay as they are. */
  readonly over: Position | null;
  /** See `Gap`. */
  readonly sharedUpTo?: Lsn | undefined;
  /** Of a temporary slot that will be streamed from: then no permanent one is left. Default: one of its own. */
  readonly snapshot?: Omit<Snapshot, keyof AsyncDisposable>;
}

/** Reads the tables into the ledger and leaves a slot that can be started at the returned position. */
export async function baseline(options: BaselineOptions): Promise<Begun> {
  const { context, over } = options;
  const { session, store, config, vitals, log, answer } = context;
  // Before the snapshot: if it changes later, the check after START sees another fingerprint and begins again.
  const { fingerprint } = await publicationState(session, config.publication);
  await using tables = await tablesOf(options);
  // Whoever answered before: this is the server whose tables would be read.
  requireSystem(answer.system, tables.system);

  using write = store.begin({ bulk: true });
  await readInto(write, { ...options, tables });
  const lost =
    options.sharedUpTo === undefined
      ? []
      : await lostFacts(tables.reader, store, options.sharedUpTo);
  await tables.reader.query("commit");

  const staged = new Staged(store.state);
  staged.add({ facts: [], sightings: lost, put: [], drop: [] });
  write.add(staged);
  if (over) write.rebase(tables.consistent);
  if (options.snapshot === undefined) await leaveSlot(context, tables.slot);
  const position: Position = {
    ...tables.system,
    server: answer.server.address,
    database: context.database,
    slot: config.slot,
    publication: fingerprint ?? "",
    consistent: tables.consistent,
    end: tables.consistent,
  };
  for (const _ of write.settle()) await yieldToLoop();
  const totals = write.commit(position);
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

async function tablesOf({ context, snapshot }: BaselineOptions): Promise<Tables> {
  const { clientConfig, config, vitals, log, signals } = context;
  const signal = AbortSignal.any([signals.stop, signals.abandon]);
  if (snapshot) return tablesInside({ clientConfig, signal }, snapshot);
  log.info("baseline begins, waiting for open transactions to end", { slot: config.slot });
  const tables = await openTables({
    clientConfig,
    temporarySlot: temporaryName(config.slot, "baseline"),
    log,
    onWaiting: () => {
      vitals.trouble = WAITING;
    },
    signal,
  });
  vitals.trouble = null;
  return tables;
}

async function readInto(
  write: Write,
  { context, tables }: BaselineOptions & { readonly tables: Tables },
): Promise<void> {
  const { store, signals, onUnknown, log } = context;
  const rows = { builds: 0, agents: 0 };
  // Every id comes once, and a build together with its job: what this baseline adds is not asked for again.
  const before = store.empty ? NOTHING_KNOWN : store.state;
  for await (const events of tableEvents(tables, { rows, onUnknown })) {
    const staged = new Staged(before);
    for (const event of events) staged.add(step(staged, event));
    write.add(staged);
    await yieldToLoop();
    signals.stop.throwIfAborted();
  }
  log.info("the tables are read", { ...rows });
}

/** Leaves the permanent slot: the one that is there if it is valid, else a copy of the temporary one. */
async function leaveSlot({ session, config }: Context, temporary: string): Promise<void> {
  const existing = await readSlot(session, config.slot);
  const lost = existing && (existing.walStatus === "lost" || existing.invalidation !== null);
  if (lost) await dropSlot(session, config.slot);
  if (!existing || lost) await copySlot(session, temporary, config.slot);
}
