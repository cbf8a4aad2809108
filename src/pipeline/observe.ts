// What the server says of itself, the slot and the publication: the facts that `judge` decides on.

import { Transient } from "../errors.ts";
import { publicationState } from "../postgres/publication.ts";
import type { Stream } from "../postgres/replication.ts";
import {
  type ServerState,
  type SlotState,
  dropSlot,
  readSlot,
  serverState,
  slotKeepSize,
} from "../postgres/slot.ts";
import { requireSameServer } from "../postgres/walsender.ts";
import type { Position } from "../store/position.ts";
import type { Context } from "./context.ts";
import type { Observed } from "./judge.ts";

/** Without a limit of the server's own. */
const MAX_SLOT_LAG = 10 * 2 ** 30;

/**
 * Asks, before START with `stream` null. After START the slot must be held by that stream, on the server that was asked: throws
 * `Transient` where the stream holds another state than what was asked about, `NeedsOperator` where the servers differ.
 */
export async function observe(context: Context, stream: Stream | null): Promise<Observed> {
  const { session, answer, config } = context;
  const state = await serverState(session);
  requireSameServer(answer.server, state);
  const slot = await lookAtSlot(context);
  noteTimeline(context, state);
  if (stream) requireHeld(context, { stream, slot });
  const { fingerprint } = await publicationState(session, config.publication);
  return {
    system: answer.system,
    forkedAt: answer.forkedAt,
    address: state.address,
    serverEnd: state.end,
    standby: state.standby,
    slot,
    slotName: config.slot,
    database: context.database,
    publication: fingerprint ?? "",
  };
}

/** Our slot as the server tells it, shown in the vitals; read in bursts it is in use, whether or not it is held right now. */
export async function lookAtSlot({
  session,
  config,
  vitals,
}: Pick<Context, "session" | "config" | "vitals">): Promise<SlotState | null> {
  const slot = await readSlot(session, config.slot);
  vitals.slot = slot && { ...slot, active: slot.activePid !== null || vitals.inBursts };
  return slot;
}

function requireHeld(
  { answer }: Context,
  { stream, slot }: { stream: Stream; slot: SlotState | null },
): void {
  requireSameServer(answer.server, stream.server);
  if (stream.system.timeline !== answer.system.timeline) {
    throw new Transient("the server was promoted while we connected", { reason: "promoted" });
  }
  if (slot && slot.activePid !== stream.pid) {
    throw new Transient("the slot is held by another process", { reason: "slot_in_use" });
  }
}

/** Shows the timeline, and says when it changes under us. */
export function noteTimeline(
  { vitals, log }: Pick<Context, "vitals" | "log">,
  { timeline }: Pick<ServerState, "timeline">,
): void {
  if (vitals.timeline !== null && timeline > vitals.timeline)
    log.info("the server was promoted", { from: vitals.timeline, to: timeline });
  vitals.timeline = timeline;
}

/** The most WAL in bytes that our slot may hold back; null: without a limit. */
export async function slotLagLimit({
  config,
  session,
}: Pick<Context, "session"> & {
  readonly config: Pick<Context["config"], "maxSlotLag" | "baseline">;
}): Promise<number | null> {
  if (config.maxSlotLag !== undefined) return config.maxSlotLag;
  // A slot that is replayed on purpose is not to be replaced by the tables.
  if (config.baseline === "none") return null;
  const keep = await slotKeepSize(session);
  return keep === null ? MAX_SLOT_LAG : keep / 2;
}

/**
 * Drops our slot if it holds back more than its limit and nobody uses it: the tables keep every row, and a full disk of the
 * primary would be worse. Only one that the store followed: any other is not ours to drop. Returns what is to be said of it,
 * or null.
 */
export async function dropLaggingSlot(
  context: Pick<Context, "config" | "session" | "database">,
  { position, slot }: { readonly position: Position | null; readonly slot: SlotState | null },
): Promise<string | null> {
  const { config, session, database } = context;
  if (slot === null || slot.activePid !== null) return null;
  if (position?.slot !== config.slot || position.database !== database) return null;
  const limit = await slotLagLimit(context);
  if (limit === null || slot.retainedBytes <= limit) return null;
  await dropSlot(session, config.slot);
  return `the slot held back ${slot.retainedBytes} bytes of WAL, more than --max-slot-lag (${limit}), and was dropped`;
}
