// The live loop: batch → resolve → step → commit → show → acknowledge, in this order and nowhere else.

import type { Log } from "../log.ts";
import { type Lsn, maxLsn } from "../lsn.ts";
import type { Batch, Source } from "../change/source.ts";
import type { Waiting } from "../change/waiting.ts";
import { SECOND } from "../change/micros.ts";
import { stagedOver } from "../derive/staged.ts";
import { type Event, step } from "../derive/step.ts";
import type { Fact } from "../derive/fact.ts";
import { droppedBecause } from "../metrics/families/durations.ts";
import type { Totals } from "../metrics/pages.ts";
import type { Vitals } from "../metrics/vitals.ts";
import type { Begun, Timing } from "./context.ts";
import { Deadlines, graceOf } from "./deadlines.ts";
import type { Store } from "../store/store.ts";
import { settling } from "./sieve.ts";

/** Moments at which a crash must not matter; tests end the process there. */
export type CrashPoint =
  | "before commit"
  | "after commit, before show"
  | "after show, before acknowledge";

export interface FollowOptions {
  readonly source: Source;
  readonly resolve: (batch: Pick<Batch, "txs" | "end">) => Promise<readonly Event[]>;
  readonly store: Store;
  readonly waiting: Waiting;
  /** Where the source begins, which may be before what the store has, and what is shown. */
  readonly begun: Begun;
  /** The server's timeline now: it rises when a standby is promoted under us. */
  readonly timeline: () => number;
  readonly show: (totals: Totals) => void;
  readonly vitals: Vitals;
  readonly log: Log;
  readonly onPoint?: ((point: CrashPoint, facts: number) => void) | undefined;
  /** For tests. */
  readonly timing?: Partial<Timing> | undefined;
  readonly signal: AbortSignal;
}

/**
 * Follows until the signal aborts or the source ends; finishes the batch at hand first. Returns where the store stands then. Throws
 * when the source, a look-up or the store fails.
 */
export async function follow(options: FollowOptions): Promise<Begun> {
  const { source, store, vitals, onPoint } = options;
  let { position, totals } = options.begun;
  const deadlines = new Deadlines(store.ledger.deadlines(), graceOf(options.timing));
  let before: Lsn | null = null;
  for await (const batch of source.batches(options.signal)) {
    const end: Lsn = maxLsn(position.end, batch.end);
    // Replays are normal: the server may send again what was committed here but not acknowledged there. The ledger ignores
    // what it knows; no position is trusted to tell.
    const events = await options.resolve(batch);
    const staged = stagedOver(store.ledger.state, events);
    // Only once all is read that was there at that time: who connected in time may have waited in the backlog of an outage.
    deadlines.add(staged.put);
    for (const id of deadlines.passed(batch.readUpTo))
      staged.add(step(staged, { row: { kind: "due", id }, end }));
    const isNew = batch.end !== before || events.length > 0 || staged.facts.length > 0;
    before = batch.end;
    if (!isNew) continue;
    position = { ...position, end, timeline: options.timeline() };

    onPoint?.("before commit", staged.facts.length);
    const settle = settling(store.ledger.state, { waiting: options.waiting, events, staged });
    const began = performance.now();
    using write = store.begin();
    const accepted = write.add(staged);
    totals = write.commit(position);
    vitals.storeCommit.observe((performance.now() - began) / 1000);
    onPoint?.("after commit, before show", accepted.length);
    options.show(totals);
    onPoint?.("after show, before acknowledge", accepted.length);
    source.durable(batch.end);

    settle();
    report(options, { accepted, batch, end });
  }
  return { position, totals, start: position.end };
}

function report(
  { store, vitals, log }: FollowOptions,
  { accepted, batch, end }: { accepted: readonly Fact[]; batch: Batch; end: Lsn },
): void {
  vitals.durable = end;
  vitals.applied = maxLsn(vitals.applied ?? end, end);
  vitals.waiting = store.counts.waiting;
  vitals.divergent = store.counts.divergent;
  for (const fact of accepted) {
    vitals.facts[fact.kind] += 1;
    if (fact.kind === "connected" && droppedBecause(fact.took) === "negative") {
      log.warn("negative agent first connection duration (possible clock skew); dropping sample", {
        agent: fact.id,
        seconds: fact.took / SECOND,
      });
    }
  }
  const last = batch.txs.at(-1);
  if (!last) return;
  vitals.lastCommitAt = last.at;
  const now = Date.now() / 1000;
  for (const tx of batch.txs) vitals.eventDelay.observe(Math.max(0, now - tx.at / SECOND));
}
