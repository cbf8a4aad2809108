// `backfill --from slot NAME`: a temporary ledger of what the slot tells, which is what was first, and then of what the tables say, which
// is all that there is. The slot is only read, through a temporary copy; whoever follows it notices nothing.

import { NeedsOperator } from "../errors.ts";
import { type Lsn, ZERO_LSN } from "../lsn.ts";
import { Waiting } from "../change/waiting.ts";
import { stagedOver } from "../derive/staged.ts";
import { Vitals } from "../metrics/vitals.ts";
import { type Replay, openReplay } from "../postgres/replay.ts";
import { checkReplaying, requireAll } from "../postgres/requirements.ts";
import { SILENCE_MS, type Session, type SessionOptions, openSession } from "../postgres/session.ts";
import { isLost, readSlot, replayableSlots } from "../postgres/slot.ts";
import { type Server, requireSameServer, serverOf } from "../postgres/walsender.ts";
import type { Store } from "../store/store.ts";
import type { Write } from "../store/write.ts";
import { addTables } from "./ledger-from-tables.ts";
import type { LedgerProgress } from "./ledger-progress.ts";
import { Resolver } from "./resolve.ts";
import { settling } from "./sieve.ts";
import { temporaryName } from "./snapshot.ts";
import { type LedgerOptions, type TemporaryLedger, makeLedger } from "./temporary-ledger.ts";

/**
 * Replays the slot up to the end of the WAL now, and adds what the tables say afterwards: what came before the slot, and what comes
 * after that end. Throws `NeedsOperator`, or the signal's reason.
 */
export async function ledgerFromSlot(
  options: LedgerOptions & { readonly slot: string },
): Promise<TemporaryLedger> {
  const { config, progress, signal, slot, timing } = options;
  return makeLedger(signal, async (write, store) => {
    // Until the tables are read: a workspace may have been created before the slot.
    write.whole(false);
    // A look-up is answered soon or not at all; reading the tables may take the server a while.
    const server = await onSession(
      { config, signal, answerWithinMs: timing?.answerWithinMs ?? SILENCE_MS },
      async (session) => {
        requireAll(await checkReplaying(session, { ...config, slot }), "replayed yet");
        await requireReplayable(session, slot);
        return await addSlot(write, { ...options, store, session });
      },
    );
    const stalled = new AbortController();
    const both = AbortSignal.any([signal, stalled.signal]);
    return await onSession({ config, signal: both }, async (session) => {
      requireSameServer(server, await serverOf(session));
      return await addTables(write, { store, session, progress, stalled, signal });
    });
  });
}

type SlotOptions = LedgerOptions & {
  readonly slot: string;
  readonly store: Store;
  /** For look-ups. */
  readonly session: Session;
};

/** Gives the server that told it. As `follow` does it, but for what only a follower does: nothing is shown, and nothing is acknowledged. */
async function addSlot(write: Write, options: SlotOptions): Promise<Server> {
  const { config, progress, store, session, slot, timing, signal } = options;
  const waiting = new Waiting();
  await using replay = await openReplay({
    clientConfig: await config.database(),
    slot,
    copy: temporaryName(slot, "backfill"),
    publication: config.publication,
    beside: session,
    silenceMs: timing?.silenceMs,
    waiting,
    counts: progress.changes,
    // Unknown enum values are the follower's to report.
    onUnknown: () => undefined,
    signal,
  });
  const server = await serverOf(session);
  requireSameServer(server, await serverOf(replay.session));
  const resolver = new Resolver({ session, vitals: new Vitals(), log: options.log });
  note(progress, replay, replay.from);
  for await (const batch of replay.batches()) {
    const events = await resolver.resolve(batch, signal);
    const staged = stagedOver(store.ledger.state, events);
    const settle = settling(store.ledger.state, { waiting, events, staged });
    write.add(staged);
    settle();
    note(progress, replay, batch.end);
    signal.throwIfAborted();
  }
  progress.slot = null;
  return server;
}

/** A session for as long as this work takes. */
async function onSession<T>(
  { config, ...options }: SessionOptions & Pick<LedgerOptions, "config">,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  await using session = await openSession(await config.database(), options);
  return await work(session);
}

function note(progress: LedgerProgress, { from, until }: Replay, at: Lsn): void {
  progress.slot = { from, at, until };
}

async function requireReplayable(session: Session, slot: string): Promise<void> {
  const found = await readSlot(session, slot).catch(async (error: unknown) => {
    throw await notThisOne(session, error);
  });
  if (found === null) {
    throw new NeedsOperator(`there is no slot ${slot} on this server`, {
      reason: "slot_missing",
      hint: await others(session),
    });
  }
  if (isLost(found)) {
    const why = found.invalidation ?? "its WAL was removed";
    throw new NeedsOperator(`the slot ${slot} is lost (${why}): it has nothing to tell any more`, {
      reason: "slot_lost",
      hint: `read the tables instead (--from tables), and drop it: select pg_drop_replication_slot('${slot}');`,
    });
  }
  if (found.confirmed === ZERO_LSN) {
    throw new NeedsOperator(`the slot ${slot} is still being created`, {
      reason: "slot_unfinished",
      hint: "it waits for every transaction that was open when that began: see pg_stat_activity, then run this again",
    });
  }
}

/** What `readSlot` refuses, with what to do about it here. */
async function notThisOne(session: Session, error: unknown): Promise<unknown> {
  if (!(error instanceof NeedsOperator)) return error;
  const { message, reason } = error;
  if (reason === "slot_foreign")
    return new NeedsOperator(message, { reason, hint: await others(session), cause: error });
  if (reason !== "slot_synced") return error;
  const hint =
    "replay it on the primary, or park a slot on this standby for the next time (docs/backfill.md)";
  return new NeedsOperator(message, { reason, hint, cause: error });
}

async function others(session: Session): Promise<string> {
  const names = await replayableSlots(session);
  const there =
    names.length === 0
      ? "no slot of this database can be replayed (docs/backfill.md says how to park one)"
      : `slots of this database that can be replayed: ${names.join(", ")}`;
  return `${there}; without one, read the tables (--from tables)`;
}
