// One attempt at following: connect, check, begin or go on, read until something breaks. Nothing survives it but the
// store and what is shown; the next attempt starts from the store again.

import { setImmediate as yieldToLoop } from "node:timers/promises";
import { must } from "../errors.ts";
import { checkRequirements, requireAll } from "../postgres/requirements.ts";
import { type Session, openSession } from "../postgres/session.ts";
import { requireSlotLock } from "../postgres/slot-lock.ts";
import { requireSameServer, serverOf, whoAnswers } from "../postgres/walsender.ts";
import type { Position } from "../store/position.ts";
import type { Loaded } from "../store/store.ts";
import { begin } from "./begin.ts";
import type { Context, FollowerOptions, Lasting, Signals } from "./context.ts";
import { noteGap } from "./gap.ts";
import { gap } from "./judge.ts";
import { dropLaggingSlot, lookAtSlot } from "./observe.ts";
import { followSlot, followTemporarySlot } from "./reading.ts";

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
  const loaded = await load(options, signals);
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
  await requireSlotLock(session, config.slot);
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

/** From the store, as every attempt begins. What answers requests runs in between. */
async function load({ store }: Lasting, { stop }: Signals): Promise<Loaded> {
  const steps = store.loading();
  try {
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
      await yieldToLoop();
      stop.throwIfAborted();
    }
  } finally {
    steps[Symbol.dispose]();
  }
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

async function currentDatabase(session: Session): Promise<string> {
  const [here] = await session.query<{ database: string }>(
    "select pg_catalog.current_database() as database",
  );
  return must(here, "no database name").database;
}
