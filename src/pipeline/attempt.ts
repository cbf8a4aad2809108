// One attempt at following: connect, check, begin or go on, stream until something breaks. Nothing survives it but the
// store and what is shown; the next attempt starts from the store again.

import { Transient, must } from "../errors.ts";
import { formatLsn, maxLsn } from "../lsn.ts";
import { Waiting } from "../change/waiting.ts";
import { type Stream, openStream } from "../postgres/replication.ts";
import { checkRequirements, requireAll } from "../postgres/requirements.ts";
import { type Session, openSession } from "../postgres/session.ts";
import { serverState } from "../postgres/slot.ts";
import { requireSameServer, serverOf, whoAnswers } from "../postgres/walsender.ts";
import type { Position } from "../store/position.ts";
import type { Loaded, Store } from "../store/store.ts";
import { baseline } from "./baseline.ts";
import { begin, beginTemporary, heal } from "./begin.ts";
import type { Begun, Context, FollowerOptions, Lasting, Signals } from "./context.ts";
import { follow } from "./follow.ts";
import { noteGap } from "./gap.ts";
import { type Observed, gap, judge, sharedUpTo } from "./judge.ts";
import { dropLaggingSlot, lookAtSlot, observe } from "./observe.ts";
import { Resolver } from "./resolve.ts";
import { watch } from "./watch.ts";

/** Everything that this session asks is small: look-ups by primary key and the catalog. */
const ANSWER_WITHIN_MS = 60_000;

/** Follows until `stop` aborts. `onRequirementsMet` is called once the database is known to be fit. */
export async function attempt(
  options: Lasting,
  signals: Signals,
  onRequirementsMet: () => void,
): Promise<void> {
  const { config, store, vitals, timing } = options;
  const clientConfig = await config.database();
  const answerWithinMs = timing?.silenceMs ?? ANSWER_WITHIN_MS;
  await using session = await openSession(clientConfig, {
    signal: signals.abandon,
    answerWithinMs,
  });
  const loaded = store.load();
  vitals.waiting = store.counts.waiting;
  vitals.divergent = store.counts.divergent;
  const { position } = loaded;
  const findings = await checkRequirements(session, config);
  if (findings.length === 0) onRequirementsMet();
  else await watchSlotMeanwhile(options, session, position);
  requireAll(findings);

  const answer = await whoAnswers(clientConfig, {
    timeline: position?.timeline ?? null,
    answerWithinMs,
    signal: signals.abandon,
  });
  requireSameServer(answer.server, await serverOf(session));
  const database = await currentDatabase(session);
  const context: Context = {
    ...options,
    lasting: options,
    clientConfig,
    session,
    answer,
    database,
    signals,
  };
  // Awaited here: the session must outlive them.
  if (config.temporarySlot) await followTemporarySlot(context, loaded);
  else await followSlot(context, await begin(context, loaded));
}

/** While something is to be mended nothing else asks: a slot that is lost meanwhile, or holds back the disk, must be seen. */
async function watchSlotMeanwhile(
  options: FollowerOptions,
  session: Session,
  position: Position | null,
): Promise<void> {
  const { config, vitals, log } = options;
  const slot = await lookAtSlot({ session, config, vitals });
  const database = await currentDatabase(session);
  const dropped = await dropLaggingSlot({ config, session, database }, { position, slot });
  if (dropped !== null) noteGap({ vitals, log }, gap("slot_lag", dropped));
}

/** Streams from the permanent slot. Once START is accepted nobody else can move it, so what is found then is final. */
async function followSlot(context: Context, first: Begun): Promise<void> {
  const { store } = context;
  for (let begun = first; ;) {
    const waiting = fillSieve(new Waiting(), store);
    await using stream = await openStream({
      ...streamOptions(context, waiting),
      start: begun.start,
    });
    const found = await orGivenUp(observe(context, stream), stream.failed);
    const verdict = judge(begun.position, found);
    if (verdict.kind === "follow") {
      await followStream(context, { stream, waiting, begun, found });
      return;
    }
    await stream[Symbol.asyncDispose]();
    begun = await heal(context, begun, verdict, sharedUpTo(begun.position, found));
  }
}

/** `--temporary-slot`: every connection makes its slot, reads the tables inside its snapshot, and streams on from there. */
async function followTemporarySlot(context: Context, loaded: Loaded): Promise<void> {
  const shared = await beginTemporary(context, loaded);
  const waiting = new Waiting();
  const ready = Promise.withResolvers<Begun>();
  await using stream = await openStream({
    ...streamOptions(context, waiting),
    start: async (makeSlot) => {
      const over = loaded.position;
      const begun = await baseline({ context, over, sharedUpTo: shared, makeSlot });
      ready.resolve(begun);
      fillSieve(waiting, context.store);
      return begun.start;
    },
  });
  const begun = await ready.promise;
  const found = await orGivenUp(observe(context, stream), stream.failed);
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
  // What was judged fit is what the position is true of from now on, from where this stream begins.
  const slot = must(found.slot, "followed without a slot");
  const position: Position = {
    ...begun.position,
    timeline: found.system.timeline,
    server: found.address,
    end: maxLsn(begun.start, slot.confirmed),
  };
  context.show(begun.totals);
  vitals.inGap = false;
  vitals.behind = false;
  log.info("following", { slot: config.slot, from: formatLsn(position.end), pid: stream.pid });
  const resolver = new Resolver({ session, vitals, log });
  const giveUp = AbortSignal.any([signals.abandon, stream.failed]);
  const target = (await serverState(session)).end;
  using watcher = watch({ context, stream, position, target });
  try {
    vitals.connected = true;
    vitals.trouble = null;
    // Says where we stand, which nothing did before the checks, and asks where the server is.
    stream.durable(position.end);
    stream.ping();
    await follow({
      ...context,
      source: stream,
      waiting,
      position,
      // A standby may show an older one than it told when we connected.
      timeline: () => Math.max(vitals.timeline ?? 0, position.timeline),
      resolve: (batch) => orGivenUp(resolver.resolve(batch, giveUp), giveUp),
      signal: AbortSignal.any([signals.stop, watcher.broken, session.lost]),
    });
    if (!signals.stop.aborted) AbortSignal.any([watcher.broken, session.lost]).throwIfAborted();
  } finally {
    vitals.connected = false;
  }
}

/**
 * Waits no longer than the signal allows: a query that is never answered must not keep us on a stream that has failed, for which
 * a server that is stopping may be waiting. Throws the signal's reason.
 */
async function orGivenUp<T>(asked: Promise<T>, signal: AbortSignal): Promise<T> {
  const given = Promise.withResolvers<never>();
  const giveUp = (): void => given.reject(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  if (signal.aborted) giveUp();
  try {
    return await Promise.race([asked, given.promise]);
  } finally {
    signal.removeEventListener("abort", giveUp);
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

async function currentDatabase(session: Session): Promise<string> {
  const [here] = await session.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  return must(here, "no database name").database;
}
