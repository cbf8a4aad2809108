// How the slot is read once it is known where to begin: in bursts, or by a stream. Each way checks what it was told before anything
// is shown or acknowledged, and goes over to the other where that is cheaper for the server.

import { Transient, must } from "../errors.ts";
import { formatLsn, maxLsn } from "../lsn.ts";
import { Waiting } from "../change/waiting.ts";
import { type Bursts, openBursts, requireReleased } from "../postgres/bursts.ts";
import { type Stream, openStream } from "../postgres/replication.ts";
import { serverState } from "../postgres/slot.ts";
import { limitIdle } from "../postgres/slot-lock.ts";
import { requireSameServer, serverOf } from "../postgres/walsender.ts";
import type { Position } from "../store/position.ts";
import type { Loaded } from "../store/store.ts";
import { baseline } from "./baseline.ts";
import { beginTemporary, heal } from "./begin.ts";
import type { Begun, Context } from "./context.ts";
import { follow } from "./follow.ts";
import { type Gap, type Observed, judge, sharedUpTo } from "./judge.ts";
import { observe } from "./observe.ts";
import { Resolver } from "./resolve.ts";
import { fillSieve } from "./sieve.ts";
import { watch } from "./watch.ts";

/** While the slot is read `watch` asks every 10 s. */
const IDLE_LIMIT = "30s";

/** How one way of reading ended, if not by an error. */
type Ended =
  | { readonly kind: "stopped" }
  | { readonly kind: "gap"; readonly gap: Gap; readonly found: Observed }
  /** The other way is cheaper now; everything is stored up to here. */
  | { readonly kind: "change"; readonly begun: Begun };

/** Reads the permanent slot until it is told to stop. */
export async function followSlot(context: Context, first: Begun): Promise<void> {
  const bursts = context.config.readEveryMs > 0;
  let streams = !bursts;
  for (let begun = first; ;) {
    const ended = streams
      ? await followStream(context, begun, bursts)
      : await followBursts(context, begun);
    if (ended.kind === "stopped") return;
    if (ended.kind === "gap") {
      // Idle while the tables are read on another connection.
      await limitIdle(context.session, "0");
      begun = await heal(context, begun, ended.gap, sharedUpTo(begun.position, ended.found));
      continue;
    }
    streams = !streams;
    begun = ended.begun;
  }
}

/** Once START is accepted nobody else can move the slot, so what is found then is final. */
async function followStream(context: Context, begun: Begun, leave: boolean): Promise<Ended> {
  const { session: beside, config, signals } = context;
  // After bursts: the server may still be at the last query.
  if (leave) await requireReleased({ beside, slot: config.slot, signal: signals.abandon });
  const waiting = fillSieve(new Waiting(), context.store);
  await using stream = await openStream({
    ...sourceOptions(context, waiting),
    start: begun.start,
  });
  const found = await orGivenUp(observe(context, stream), stream.failed);
  const verdict = judge(begun.position, found);
  if (verdict.kind === "gap") return { kind: "gap", gap: verdict, found };
  // Awaited here: the source must outlive it.
  return await followSource(context, { source: stream, waiting, begun, found, leave });
}

/** Nobody holds the slot, but each burst proves that it stood where it is found now, or where it was left. */
async function followBursts(context: Context, begun: Begun): Promise<Ended> {
  const found = await observe(context, null);
  requireTimeline(context);
  const verdict = judge(begun.position, found);
  if (verdict.kind === "gap") return { kind: "gap", gap: verdict, found };
  const { session: beside, config, signals } = context;
  await requireReleased({ beside, slot: config.slot, signal: signals.abandon });
  // Nobody holds the slot, and it is where we left it: that is all that totals wait for, not another connection.
  context.show(begun.totals);
  const waiting = fillSieve(new Waiting(), context.store);
  await using bursts = await openBursts({
    ...sourceOptions(context, waiting),
    beside,
    confirmed: must(found.slot, "followed without a slot").confirmed,
    start: begun.start,
    everyMs: config.readEveryMs,
  });
  requireSameServer(context.answer.server, await serverOf(bursts.session));
  // Awaited here: the source must outlive it.
  return await followSource(context, { source: bursts, waiting, begun, found, leave: false });
}

/** What the server said when it was asked who answers must still hold: a promotion since then would look like a gap. */
function requireTimeline({ vitals, answer }: Context): void {
  if ((vitals.timeline ?? 0) <= answer.system.timeline) return;
  throw new Transient("the server was promoted while we connected", { reason: "promoted" });
}

/** `--temporary-slot`: every connection makes its slot, reads the tables inside its snapshot, and streams on from there. */
export async function followTemporarySlot(context: Context, loaded: Loaded): Promise<void> {
  const shared = await beginTemporary(context, loaded);
  const waiting = new Waiting();
  const ready = Promise.withResolvers<Begun>();
  await using stream = await openStream({
    ...sourceOptions(context, waiting),
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
  await followSource(context, { source: stream, waiting, begun, found, leave: false });
}

interface Following {
  readonly source: Stream | Bursts;
  readonly waiting: Waiting;
  readonly begun: Begun;
  readonly found: Observed;
  /** To be left as soon as bursts are cheaper. */
  readonly leave: boolean;
}

async function followSource(
  context: Context,
  { source, waiting, begun, found, leave }: Following,
): Promise<Ended> {
  const { session, config, vitals, log, signals } = context;
  // What was judged fit is what the position is true of from now on, from where this source begins.
  const slot = must(found.slot, "followed without a slot");
  const position: Position = {
    ...begun.position,
    timeline: found.system.timeline,
    server: found.address,
    end: maxLsn(begun.start, slot.confirmed),
  };
  context.show(begun.totals);
  vitals.durable = begun.position.end;
  vitals.inGap = false;
  vitals.behind = false;
  const inBursts = "pinned" in source;
  log.info("following", {
    slot: config.slot,
    from: formatLsn(position.end),
    reading: inBursts ? "bursts" : "stream",
  });
  const { unplaced } = context.lasting;
  const resolver = new Resolver({ session, vitals, log, unplaced });
  const giveUp = AbortSignal.any([signals.abandon, source.failed]);
  await limitIdle(session, IDLE_LIMIT);
  const target = (await serverState(session)).end;
  using watcher = watch({ context, source, position, target, leave });
  const ends = [watcher.broken, session.lost, source.failed];
  try {
    vitals.connected = true;
    vitals.inBursts = inBursts;
    vitals.trouble = null;
    // Says where we stand, which nothing did before the checks, and asks where the server is.
    source.durable(position.end);
    if (!inBursts) source.ping();
    const last = await follow({
      ...context,
      source,
      waiting,
      begun: { ...begun, position },
      // A standby may show an older one than it told when we connected.
      timeline: () => Math.max(vitals.timeline ?? 0, position.timeline),
      resolve: (batch) => orGivenUp(resolver.resolve(batch, giveUp), giveUp),
      signal: AbortSignal.any([signals.stop, watcher.enough, ...ends]),
    });
    if (signals.stop.aborted) return { kind: "stopped" };
    AbortSignal.any(ends).throwIfAborted();
    return { kind: "change", begun: last };
  } catch (error) {
    // What broke it is what is to be said, not what broke because of that.
    throw watcher.broken.aborted ? watcher.broken.reason : error;
  } finally {
    vitals.connected = false;
    vitals.inBursts = false;
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

function sourceOptions(
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
