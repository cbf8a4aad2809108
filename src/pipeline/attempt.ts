// One attempt at following: connect, check, begin or go on, stream until something breaks. Nothing survives it but the
// store and what is shown; the next attempt starts from the store again.

import type { Log } from "../log.ts";
import type { Config } from "../config.ts";
import { Transient, must } from "../errors.ts";
import { formatLsn } from "../lsn.ts";
import type { OnUnknown } from "../change/cells.ts";
import { Waiting } from "../change/waiting.ts";
import type { Totals } from "../metrics/pages.ts";
import type { Vitals } from "../metrics/vitals.ts";
import { publicationState } from "../postgres/publication.ts";
import { type Stream, openStream } from "../postgres/replication.ts";
import { checkRequirements, requireAll } from "../postgres/requirements.ts";
import { type Session, openSession } from "../postgres/session.ts";
import { type System, inRecovery, readSlot, serverPosition, whoAnswers } from "../postgres/slot.ts";
import type { Position } from "../store/position.ts";
import type { Store } from "../store/store.ts";
import { baseline } from "./baseline.ts";
import { type CrashPoint, follow } from "./follow.ts";
import { type Observed, type Verdict, judge } from "./judge.ts";
import { Resolver } from "./resolve.ts";
import { watch } from "./watch.ts";

/** A gap right after healing one means that somebody interferes: back off instead of reading the tables over and over. */
const MOST_HEALED = 2;

/** Everything that this session asks is small: look-ups by primary key and the catalog. */
const ANSWER_WITHIN_MS = 60_000;

export interface FollowerOptions {
  readonly config: Pick<Config, "database" | "slot" | "publication">;
  readonly store: Store;
  /** Shows totals; null hides them. */
  readonly show: (totals: Totals | null) => void;
  readonly vitals: Vitals;
  readonly log: Log;
  readonly onPoint?: ((point: CrashPoint, facts: number) => void) | undefined;
}

/** What outlives an attempt, beside the store and what is shown. */
export interface AttemptOptions extends FollowerOptions {
  readonly onUnknown: OnUnknown;
}

/** `stop`: take no new batch. `abandon`: give up what is under way; comes some seconds after `stop`. */
export interface Signals {
  readonly stop: AbortSignal;
  readonly abandon: AbortSignal;
}

/** Follows until `stop` aborts. `onRequirementsMet` is called once the database is known to be fit. */
export async function attempt(
  options: AttemptOptions,
  signals: Signals,
  onRequirementsMet: () => void,
): Promise<void> {
  const { config, vitals, log } = options;
  const clientConfig = await config.database();
  await using session = await openSession(clientConfig, {
    signal: signals.abandon,
    answerWithinMs: ANSWER_WITHIN_MS,
  });
  requireAll(await checkRequirements(session, config));
  onRequirementsMet();

  const loaded = options.store.load();
  vitals.waiting = options.store.counts.waiting;
  vitals.divergent = options.store.counts.divergent;
  const system = await whoAnswers(clientConfig, signals.abandon);
  const begin = { ...options, clientConfig, session, system, signals };
  let { position, totals } = await beginOrGoOn(begin, loaded);
  for (let healed = 0; ; healed += 1) {
    const waiting = fillSieve(options.store);
    await using stream = await openStream({
      clientConfig,
      slot: config.slot,
      publication: config.publication,
      start: position.end,
      waiting,
      counts: vitals.stream,
      onUnknown: options.onUnknown,
      signal: signals.abandon,
    });
    const found = await observe(begin, stream);
    const verdict = judge(position, found);
    if (verdict.kind === "gap") {
      if (healed >= MOST_HEALED)
        throw new Transient(`gap after gap: ${verdict.detail}`, { reason: verdict.reason });
      await stream[Symbol.asyncDispose]();
      ({ position, totals } = await heal(begin, position, verdict));
      continue;
    }
    options.show(totals);
    log.info("following", { slot: config.slot, from: formatLsn(position.end), pid: stream.pid });
    await followStream(begin, { stream, waiting, position });
    return;
  }
}

interface Begin extends AttemptOptions {
  readonly clientConfig: Awaited<ReturnType<Config["database"]>>;
  readonly session: Session;
  readonly system: System;
  readonly signals: Signals;
}

interface Begun {
  readonly position: Position;
  readonly totals: Totals;
}

/** The stored position, or a baseline where there is none or the slot could not be started. */
async function beginOrGoOn(
  begin: Begin,
  { position, totals }: { position: Position | null; totals: Totals },
): Promise<Begun> {
  if (!position) {
    begin.log.info("the store is empty, beginning from the tables");
    return takeBaseline(begin, null);
  }
  const verdict = judge(position, await observe(begin, null));
  return verdict.kind === "gap" ? heal(begin, position, verdict) : { position, totals };
}

async function heal(
  begin: Begin,
  stored: Position,
  verdict: Extract<Verdict, { kind: "gap" }>,
): Promise<Begun> {
  const { vitals, log } = begin;
  vitals.count(vitals.gaps, verdict.reason);
  log.warn("gap: WAL may have passed uncounted, healing from the tables", {
    reason: verdict.reason,
    detail: verdict.detail,
  });
  // Somebody else consumed what we did not: the totals are known to be behind, and not shown until they are not.
  if (verdict.reason === "slot_ahead") begin.show(null);
  return takeBaseline(begin, stored);
}

async function takeBaseline(begin: Begin, stored: Position | null): Promise<Begun> {
  const { config, vitals, signals } = begin;
  const begun = await baseline({
    ...begin,
    stored,
    slot: config.slot,
    publication: config.publication,
    signal: AbortSignal.any([signals.stop, signals.abandon]),
  });
  vitals.baselines += 1;
  // Positions of before may be of another history of the server.
  vitals.received = null;
  vitals.applied = null;
  vitals.waiting = begin.store.counts.waiting;
  vitals.divergent = begin.store.counts.divergent;
  return begun;
}

/** What the server says of the slot and the publication; after START also who the server is. */
async function observe(
  { session, system, config, vitals }: Begin,
  stream: Stream | null,
): Promise<Observed> {
  const slot = await readSlot(session, config.slot);
  vitals.slot = slot && { ...slot, active: slot.activePid !== null };
  if (stream && slot && slot.activePid !== stream.pid) {
    throw new Transient("the slot is held by another process", { reason: "slot_in_use" });
  }
  const { fingerprint } = await publicationState(session, config.publication);
  const [here] = await session.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  return {
    system: stream?.system ?? system,
    serverEnd: await serverPosition(session),
    standby: await inRecovery(session),
    slot,
    slotName: config.slot,
    database: must(here, "no database name").database,
    publication: fingerprint ?? "",
  };
}

async function followStream(
  begin: Begin,
  { stream, waiting, position }: { stream: Stream; waiting: Waiting; position: Position },
): Promise<void> {
  const { session, config, vitals, log, signals } = begin;
  const resolver = new Resolver({ session, vitals, log });
  const giveUp = AbortSignal.any([signals.abandon, stream.failed]);
  const target = await serverPosition(session);
  using watcher = watch({ stream, session, config, position, vitals, target });
  try {
    vitals.connected = true;
    vitals.trouble = null;
    // Says where we stand, which nothing did before the checks, and asks where the server is.
    stream.durable(position.end);
    stream.ping();
    await follow({
      ...begin,
      source: stream,
      waiting,
      position,
      resolve: (batch) => resolver.resolve(batch, giveUp),
      signal: AbortSignal.any([signals.stop, watcher.broken, session.lost]),
    });
    if (!signals.stop.aborted) AbortSignal.any([watcher.broken, session.lost]).throwIfAborted();
  } finally {
    vitals.connected = false;
  }
}

/** The sieve of a new stream knows everything that waits in the store. */
function fillSieve(store: Store): Waiting {
  const waiting = new Waiting();
  for (const id of store.waiting("build")) waiting.addJob(id);
  for (const id of store.waiting("agent")) waiting.addAgent(id);
  return waiting;
}
