// One attempt at following: connect, check, begin or go on, stream until something breaks. Nothing survives it but the
// store and what is shown; the next attempt starts from the store again.

import { NeedsOperator, Transient, must } from "../errors.ts";
import { formatLsn } from "../lsn.ts";
import type { OnUnknown } from "../change/cells.ts";
import { Waiting } from "../change/waiting.ts";
import { type Stream, openStream } from "../postgres/replication.ts";
import { checkRequirements, requireAll } from "../postgres/requirements.ts";
import { openSession } from "../postgres/session.ts";
import { readSlot, serverState } from "../postgres/slot.ts";
import { whoAnswers } from "../postgres/walsender.ts";
import type { Position } from "../store/position.ts";
import type { Loaded, Store } from "../store/store.ts";
import { baseline } from "./baseline.ts";
import type { Begun, Context, FollowerOptions, Signals } from "./context.ts";
import { follow } from "./follow.ts";
import { admitBaseline, noteGap, requireHealing } from "./gap.ts";
import { type Gap, type Observed, gap, judge, requireSystem } from "./judge.ts";
import { requireKnownFacts } from "./known.ts";
import { dropLaggingSlot, observe } from "./observe.ts";
import { Resolver } from "./resolve.ts";
import { watch } from "./watch.ts";

/** Everything that this session asks is small: look-ups by primary key and the catalog. */
const ANSWER_WITHIN_MS = 60_000;

/** Follows until `stop` aborts. `onRequirementsMet` is called once the database is known to be fit. */
export async function attempt(
  options: FollowerOptions & { readonly onUnknown: OnUnknown },
  signals: Signals,
  onRequirementsMet: () => void,
): Promise<void> {
  const { config, store, vitals, timing } = options;
  const clientConfig = await config.database();
  await using session = await openSession(clientConfig, {
    signal: signals.abandon,
    answerWithinMs: timing?.silenceMs ?? ANSWER_WITHIN_MS,
  });
  requireAll(await checkRequirements(session, config));
  onRequirementsMet();

  const loaded = store.load();
  vitals.waiting = store.counts.waiting;
  vitals.divergent = store.counts.divergent;
  const answer = await whoAnswers(clientConfig, {
    timeline: loaded.position?.timeline ?? null,
    signal: signals.abandon,
  });
  const [here] = await session.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  const { database } = must(here, "no database name");
  const context: Context = { ...options, clientConfig, session, answer, database, signals };
  // Awaited here: the session must outlive them.
  if (config.temporarySlot) await followTemporarySlot(context, loaded);
  else await followSlot(context, await begin(context, loaded));
}

/** Where to begin: at the stored position, at the slot's, or at a baseline. */
async function begin(context: Context, loaded: Loaded): Promise<Begun> {
  const { config, answer, session, store, log } = context;
  const { position, totals } = loaded;
  if (!position && config.baseline === "none") return beginAtSlot(context);
  if (!position) {
    log.info("the store is empty, beginning from the tables");
    return baseline({ context, over: null });
  }
  if (adopts(context, position)) {
    await requireKnownFacts(session, store);
    const detail = `system ${position.systemId} became ${answer.system.systemId}, as --adopt-system says`;
    return heal(context, loaded, gap("system_adopted", detail));
  }
  const found = await observe(context, null);
  requireSystem(position, found.system);
  const dropped = await dropLaggingSlot(context, found.slot);
  const verdict = dropped === null ? judge(position, found) : gap("slot_lag", dropped);
  if (verdict.kind === "gap") return heal(context, loaded, verdict);
  // From the slot's own position, not from ours: a server that was put back to an older copy of its disk has commits below
  // our position that nobody counted. What was counted is ignored by the ledger.
  return { position, totals, start: must(found.slot, "followed without a slot").confirmed };
}

function adopts({ config, answer }: Context, position: Position): boolean {
  const { systemId } = answer.system;
  return systemId !== position.systemId && systemId === config.adoptSystem;
}

/** `--baseline none`: counts what the slot still has to tell, and nothing before it. */
async function beginAtSlot(context: Context): Promise<Begun> {
  const { slot, slotName, publication, address } = await observe(context, null);
  if (slot === null || slot.walStatus === "lost" || slot.invalidation !== null) {
    throw new NeedsOperator(`--baseline none replays a slot, but ${slotName} is missing or lost`, {
      reason: "nothing_to_replay",
      hint: `name a slot that is there with --slot, create it where counting shall begin (select pg_create_logical_replication_slot('${slotName}', 'pgoutput');), or begin from the tables with --baseline tables`,
    });
  }
  const position: Position = {
    ...context.answer.system,
    server: address,
    database: context.database,
    slot: slotName,
    publication,
    consistent: slot.confirmed,
    end: slot.confirmed,
  };
  context.log.info("the store is empty, beginning at the slot", { at: formatLsn(slot.confirmed) });
  using write = context.store.begin();
  return { position, totals: write.commit(position), start: slot.confirmed };
}

async function heal(context: Context, { position, totals }: Loaded, found: Gap): Promise<Begun> {
  noteGap(context, found);
  requireHealing(context, found, totals);
  admitBaseline(context);
  return baseline({ context, over: position, sharedUpTo: found.sharedUpTo });
}

/** Streams from the permanent slot. What the check after START finds is final: nobody else can move the slot now. */
async function followSlot(context: Context, first: Begun): Promise<void> {
  const { store, config } = context;
  for (let begun = first; ;) {
    const waiting = fillSieve(new Waiting(), store);
    await using stream = await openStream({
      ...streamOptions(context, waiting),
      start: begun.start,
    });
    const found = await observe(context, stream);
    const verdict = judge(begun.position, found);
    if (verdict.kind === "follow") {
      // Awaited here: the stream is disposed when this scope ends.
      await followStream(context, { stream, waiting, begun, found });
      return;
    }
    await stream[Symbol.asyncDispose]();
    context.log.debug("the check after START found a gap", { slot: config.slot });
    begun = await heal(context, begun, verdict);
  }
}

/** `--temporary-slot`: every connection makes its slot, reads the tables inside its snapshot, and streams on from there. */
async function followTemporarySlot(context: Context, { position, totals }: Loaded): Promise<void> {
  const { session, store, config } = context;
  const existing = await readSlot(session, config.slot);
  if (existing && !existing.temporary) {
    throw new NeedsOperator(`there is a permanent slot ${config.slot}, which holds back WAL`, {
      reason: "slot_permanent",
      hint: `drop it if nobody needs it (select pg_drop_replication_slot('${config.slot}');), choose another --slot, or leave out --temporary-slot`,
    });
  }
  if (position) {
    if (adopts(context, position)) await requireKnownFacts(session, store);
    else requireSystem(position, context.answer.system);
    const ended = gap("temporary_slot", "the slot ended with its connection");
    noteGap(context, ended);
    requireHealing(context, ended, totals);
    admitBaseline(context);
  }
  const waiting = new Waiting();
  const ready = Promise.withResolvers<Begun>();
  await using stream = await openStream({
    ...streamOptions(context, waiting),
    start: async (snapshot) => {
      ready.resolve(await baseline({ context, over: position, snapshot }));
      fillSieve(waiting, store);
    },
  });
  const begun = await ready.promise;
  const found = await observe(context, stream);
  const verdict = judge(begun.position, found);
  if (verdict.kind === "gap") throw new Transient(verdict.detail, { reason: verdict.reason });
  await followStream(context, { stream, waiting, begun, found });
}

interface Following {
  readonly stream: Stream;
  readonly waiting: Waiting;
  readonly begun: Begun;
  readonly found: Observed;
}

async function followStream(
  context: Context,
  { stream, waiting, begun, found }: Following,
): Promise<void> {
  const { session, config, vitals, log, signals } = context;
  const { slot, system, address } = found;
  // What was judged fit is what the position is true of from now on.
  const position = { ...begun.position, timeline: system.timeline, server: address };
  context.show(begun.totals);
  vitals.inGap = false;
  log.info("following", { slot: config.slot, from: formatLsn(position.end), pid: stream.pid });
  const resolver = new Resolver({ session, vitals, log });
  const giveUp = AbortSignal.any([signals.abandon, stream.failed]);
  const target = (await serverState(session)).end;
  using watcher = watch({ context, stream, position, target });
  try {
    vitals.connected = true;
    vitals.trouble = null;
    // Says where we stand, which nothing did before the checks, and asks where the server is.
    stream.durable(must(slot, "followed without a slot").confirmed);
    stream.ping();
    await follow({
      ...context,
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

function streamOptions(
  { clientConfig, config, vitals, onUnknown, signals, timing }: Context,
  waiting: Waiting,
): Omit<Parameters<typeof openStream>[0], "start"> {
  return {
    clientConfig,
    slot: config.slot,
    publication: config.publication,
    waiting,
    counts: vitals.stream,
    onUnknown,
    silenceMs: timing?.silenceMs,
    signal: signals.abandon,
  };
}

/** The sieve of a new stream knows everything that waits in the store. */
function fillSieve(waiting: Waiting, store: Store): Waiting {
  for (const id of store.waiting("build")) waiting.addJob(id);
  for (const id of store.waiting("agent")) waiting.addAgent(id);
  return waiting;
}
