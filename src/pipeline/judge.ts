// Whether the stream may be followed from where the store stands: the table of design section 6 as a pure decision.

import { NeedsOperator, Transient } from "../errors.ts";
import { type Lsn, ZERO_LSN, formatLsn } from "../lsn.ts";
import { type SlotState, isLost } from "../postgres/slot.ts";
import type { System } from "../postgres/walsender.ts";
import type { Position } from "../store/position.ts";

/** Why WAL may have been consumed without being counted. */
export type GapReason =
  | "slot_missing"
  | "slot_lag"
  | "temporary_slot"
  | "slot_lost"
  | "slot_changed"
  | "slot_ahead"
  | "server_behind"
  | "publication_changed"
  | "schema_changed"
  | "timeline_changed"
  | "system_adopted"
  | "ledger_upgraded";

export interface Gap {
  readonly kind: "gap";
  readonly reason: GapReason;
  readonly detail: string;
}

export type Verdict = { readonly kind: "follow" } | Gap;

const FOLLOW: Verdict = { kind: "follow" };

export interface Observed {
  readonly system: System;
  /** Where this server's history left the stored timeline; null: it is still on it, or never was. */
  readonly forkedAt: Lsn | null;
  /** Address of the server as it sees it; empty where it has none. */
  readonly address: string;
  /** End of its WAL that is safe on disk; on a standby, that is replayed. */
  readonly serverEnd: Lsn;
  readonly standby: boolean;
  readonly slot: SlotState | null;
  readonly slotName: string;
  readonly database: string;
  readonly publication: string;
}

/**
 * Judges what was found against the stored position. Throws `NeedsOperator` when it is another system altogether, or another
 * server of it without our slot, and `Transient` while a standby replays behind the store.
 */
export function judge(position: Position, observed: Observed): Verdict {
  return judgeServer(position, observed) ?? judgeSlot(position, observed);
}

/** Whether the server has what the store has; null where nothing speaks against it. Throws as `judge`. */
export function judgeServer(position: Position, observed: Observed): Gap | null {
  const { system, serverEnd, standby } = observed;
  requireSystem(position, system);
  // A server accepts any position, and silently skips up to it.
  if (position.end <= serverEnd || system.timeline !== position.timeline) return null;
  const detail = `the server is at ${formatLsn(serverEnd)}, the store at ${formatLsn(position.end)}`;
  if (!standby) return gap("server_behind", `${detail}: it was restored from an older copy`);
  throw new Transient(`the standby has not replayed what the store has: ${detail}`, {
    reason: "standby_behind",
  });
}

function judgeSlot(position: Position, observed: Observed): Verdict {
  const { slot } = observed;
  if (slot === null) {
    requireServer(position, observed);
    return gap("slot_missing", `there is no slot ${observed.slotName}`);
  }
  if (isLost(slot)) {
    return gap("slot_lost", `the slot was invalidated: ${slot.invalidation ?? "wal_removed"}`);
  }
  if (position.slot !== observed.slotName || position.database !== observed.database) {
    return gap(
      "slot_changed",
      `the store followed slot ${position.slot} in database ${position.database}; if nobody needs that slot any more, drop it: it holds back WAL`,
    );
  }
  if (slot.confirmed > position.end) {
    return gap(
      "slot_ahead",
      `the slot is at ${formatLsn(slot.confirmed)}, the store at ${formatLsn(position.end)}`,
    );
  }
  if (observed.publication !== position.publication) {
    return gap(
      "publication_changed",
      "the publication was changed or made again since the last good check",
    );
  }
  return judgeTimeline(position, observed);
}

/** What both histories share was counted on either; beyond the fork we may hold commits that a failover lost. */
function judgeTimeline(position: Position, { system, forkedAt }: Observed): Verdict {
  if (system.timeline === position.timeline) return FOLLOW;
  if (forkedAt !== null && position.end <= forkedAt) return FOLLOW;
  const fork = forkedAt === null ? "unknown to this server" : `left at ${formatLsn(forkedAt)}`;
  return gap(
    "timeline_changed",
    `timeline ${system.timeline} now; the store is at ${formatLsn(position.end)} of timeline ${position.timeline}, ${fork}`,
  );
}

/**
 * Up to where the server's history is known to be the one that the store followed: facts told later may be of commits that it
 * lost, or never had. A slot was confirmed by us, so up to there it is the same server or a copy of it.
 */
export function sharedUpTo(
  position: Position,
  { system, forkedAt, serverEnd, slot }: Observed,
): Lsn {
  if (system.timeline !== position.timeline && forkedAt !== null) return forkedAt;
  const confirmed = slot?.confirmed ?? ZERO_LSN;
  if (system.timeline !== position.timeline) return confirmed;
  return slot === null || serverEnd < confirmed ? serverEnd : confirmed;
}

/** The same timeline on another server is a sibling behind the same name, not a failover: a slot made there would be in vain. */
function requireServer(position: Position, { address, system, slotName }: Observed): void {
  const known = position.server !== "" && address !== "";
  if (!known || position.server === address || system.timeline !== position.timeline) return;
  throw new NeedsOperator(
    `there is no slot ${slotName} on ${address}; the store followed it on ${position.server}, so this may be a load balancer`,
    {
      reason: "other_server",
      hint: `point --database-url at one server. If you moved on purpose, say so by creating the slot there: select pg_create_logical_replication_slot('${slotName}', 'pgoutput');`,
    },
  );
}

export function gap(reason: GapReason, detail: string): Gap {
  return { kind: "gap", reason, detail };
}

/** Another system's tables must never be merged into this ledger. Throws `NeedsOperator` with both ids. */
export function requireSystem(position: Pick<Position, "systemId">, { systemId }: System): void {
  if (systemId === position.systemId) return;
  throw new NeedsOperator(
    `the store belongs to Postgres system ${position.systemId}, but this is system ${systemId}`,
    {
      reason: "system_changed",
      hint: `point --database-url at the system that the store belongs to, or give this one its own --state. If this is the same Coder after pg_upgrade or a dump and restore: --adopt-system ${systemId}`,
    },
  );
}
