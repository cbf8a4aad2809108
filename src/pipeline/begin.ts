// Where following begins: at the stored position, at the slot's, or at a baseline. Every gap that is found on the way is said,
// counted, and healed or left to an operator.

import { NeedsOperator, Transient, must } from "../errors.ts";
import { type Lsn, ZERO_LSN, formatLsn } from "../lsn.ts";
import { Staged } from "../derive/staged.ts";
import { isLost, readSlot } from "../postgres/slot.ts";
import type { Position } from "../store/position.ts";
import type { Loaded } from "../store/store.ts";
import { baseline } from "./baseline.ts";
import type { Begun, Context } from "./context.ts";
import { noteGap, requireHealing, requireRate, showWhileInGap } from "./gap.ts";
import {
  type Gap,
  type Observed,
  gap,
  judge,
  judgeServer,
  requireSystem,
  sharedUpTo,
} from "./judge.ts";
import { lostFacts, requireKnownFacts } from "./known.ts";
import { dropLaggingSlot, observe } from "./observe.ts";

const UPGRADED = gap("ledger_upgraded", "the ledger was written by a version that recorded less");

/** Where to begin with the permanent slot. */
export async function begin(context: Context, loaded: Loaded): Promise<Begun> {
  const { config, log, store } = context;
  const { position, totals } = loaded;
  if (!position && config.baseline === "none") return beginAtSlot(context);
  if (!position) {
    log.info("the store is empty, beginning from the tables");
    return baseline({ context, over: null });
  }
  if (adopts(context, position)) return heal(context, loaded, await adopt(context, position));
  const found = await observe(context, null);
  requireSystem(position, found.system);
  const dropped = await dropLaggingSlot(context, { position, slot: found.slot });
  const verdict = dropped === null ? judge(position, found) : gap("slot_lag", dropped);
  if (verdict.kind === "gap") return heal(context, loaded, verdict, sharedUpTo(position, found));
  // With `--baseline none` a ledger has what came after it began, and of other builds what comes from now on.
  if (!store.ledger.complete && config.baseline !== "none")
    return heal(context, loaded, UPGRADED, sharedUpTo(position, found));
  const { unreadable } = context.lasting;
  if (unreadable !== null) return heal(context, loaded, gap("schema_changed", unreadable));
  // From the slot's own position, not from ours: a server that was put back to an older copy of its disk has commits below
  // our position that nobody counted. What was counted is ignored by the ledger.
  const start = must(found.slot, "followed without a slot").confirmed;
  const begun = { position, totals, start };
  return start < position.end ? { ...begun, totals: await listLost(context, begun) } : begun;
}

/** Before a temporary slot is made: what the ledger misses is a gap each time, because no slot waited for us. */
export async function beginTemporary(
  context: Context,
  { position, totals }: Loaded,
): Promise<Lsn | undefined> {
  await requireNoSlot(context);
  if (!position) return undefined;
  let found: Gap = gap("temporary_slot", "the slot ended with its connection");
  let shared: Lsn | undefined;
  if (adopts(context, position)) found = await adopt(context, position);
  else {
    const observed = await observe(context, null);
    found = judgeServer(position, observed) ?? found;
    shared = sharedUpTo(position, observed);
  }
  admit(context, { found, totals });
  return shared;
}

/** Heals from the tables, if that is allowed. */
export async function heal(
  context: Context,
  { position, totals }: Pick<Loaded, "position" | "totals">,
  found: Gap,
  shared?: Lsn,
): Promise<Begun> {
  admit(context, { found, totals });
  const begun = await baseline({ context, over: position, sharedUpTo: shared });
  context.lasting.unreadable = null;
  return begun;
}

function admit(
  context: Context,
  { found, totals }: { readonly found: Gap; readonly totals: Loaded["totals"] },
): void {
  noteGap(context, found);
  showWhileInGap(context, totals);
  requireHealing(context, found);
  requireRate(context);
}

function adopts({ config, answer }: Context, position: Position): boolean {
  const { systemId } = answer.system;
  return systemId !== position.systemId && systemId === config.adoptSystem;
}

async function adopt({ session, store, answer }: Context, position: Position): Promise<Gap> {
  await requireKnownFacts(session, store);
  const detail = `system ${position.systemId} became ${answer.system.systemId}, as --adopt-system says`;
  return gap("system_adopted", detail);
}

/**
 * The slot stands below the store: usually because the server crashed before it saved the slot, but it may have been put back to
 * an older copy. What the tables no longer say is listed; if it comes again from the slot it is taken off the list.
 */
async function listLost(
  { session, store, log }: Context,
  { position, totals, start }: Begun,
): Promise<Loaded["totals"]> {
  const lost = await lostFacts(session, store, start);
  if (lost.length === 0) return totals;
  log.warn("the tables do not say what was counted", { ids: lost.length });
  const staged = new Staged(store.ledger.state);
  staged.add({ facts: [], sightings: lost, put: [], drop: [] });
  using write = store.begin();
  write.add(staged);
  return write.commit(position);
}

/** `--baseline none`: counts what the slot still has to tell, and nothing before it. */
async function beginAtSlot(context: Context): Promise<Begun> {
  const found: Observed = await observe(context, null);
  const { slot, slotName } = found;
  if (slot === null || isLost(slot)) {
    throw new NeedsOperator(`--baseline none replays a slot, but ${slotName} is missing or lost`, {
      reason: "nothing_to_replay",
      hint: `name a slot that is there with --slot, create it where counting shall begin (select pg_create_logical_replication_slot('${slotName}', 'pgoutput');), or begin from the tables with --baseline tables`,
    });
  }
  if (slot.confirmed === ZERO_LSN)
    throw new Transient("the slot is still being created", { reason: "slot_in_use" });
  const position: Position = {
    ...context.answer.system,
    server: found.address,
    database: context.database,
    slot: slotName,
    publication: found.publication,
    consistent: slot.confirmed,
    end: slot.confirmed,
  };
  context.log.info("the store is empty, beginning at the slot", { at: formatLsn(slot.confirmed) });
  using write = context.store.begin();
  write.whole(false);
  return { position, totals: write.commit(position), start: slot.confirmed };
}

/** A permanent slot of that name would hold back WAL for nobody; a temporary one is that of our last connection. */
async function requireNoSlot({ session, config }: Context): Promise<void> {
  const existing = await readSlot(session, config.slot);
  if (!existing) return;
  if (existing.temporary)
    throw new Transient("the last connection still holds the temporary slot", {
      reason: "slot_in_use",
    });
  throw new NeedsOperator(`there is a permanent slot ${config.slot}, which holds back WAL`, {
    reason: "slot_permanent",
    hint: `drop it if nobody needs it (select pg_drop_replication_slot('${config.slot}');), choose another --slot, or leave out --temporary-slot`,
  });
}
