// Whether the stream may be followed from where the store stands: the table of design section 6 as a pure decision.

import { NeedsOperator, Transient } from "../errors.ts";
import { type Lsn, formatLsn } from "../lsn.ts";
import type { SlotState, System } from "../postgres/slot.ts";
import type { Position } from "../store/position.ts";

/** Why WAL may have been consumed without being counted. */
export type GapReason =
  | "slot_missing"
  | "slot_lost"
  | "slot_changed"
  | "slot_ahead"
  | "server_behind"
  | "publication_changed"
  | "timeline_changed";

export type Verdict =
  | { readonly kind: "follow" }
  | { readonly kind: "gap"; readonly reason: GapReason; readonly detail: string };

const FOLLOW: Verdict = { kind: "follow" };

export interface Observed {
  readonly system: System;
  /** End of its WAL that is safe on disk; on a standby, that is replayed. */
  readonly serverEnd: Lsn;
  readonly standby: boolean;
  readonly slot: SlotState | null;
  readonly slotName: string;
  readonly database: string;
  readonly publication: string;
}

/**
 * Judges what was found against the stored position. Throws `NeedsOperator` when it is another system altogether, and
 * `Transient` while a standby replays behind the store.
 */
export function judge(position: Position, observed: Observed): Verdict {
  const { system, slot } = observed;
  requireSystem(position, system);
  // A server accepts any position, and silently skips up to it.
  if (position.end > observed.serverEnd && system.timeline === position.timeline) {
    const detail = `the server is at ${formatLsn(observed.serverEnd)}, the store at ${formatLsn(position.end)}`;
    if (!observed.standby)
      return gap("server_behind", `${detail}: it was restored from an older copy`);
    throw new Transient(`the standby has not replayed what the store has: ${detail}`, {
      reason: "standby_behind",
    });
  }
  if (slot === null) return gap("slot_missing", `there is no slot ${observed.slotName}`);
  if (slot.walStatus === "lost" || slot.invalidation !== null) {
    return gap("slot_lost", `the slot was invalidated: ${slot.invalidation ?? "wal_removed"}`);
  }
  if (position.slot !== observed.slotName || position.database !== observed.database) {
    return gap(
      "slot_changed",
      `the store followed slot ${position.slot} in database ${position.database}`,
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
  // Conservative until the fork point is compared with the stored position: what is known is ignored by the baseline.
  if (system.timeline !== position.timeline) {
    return gap("timeline_changed", `timeline ${position.timeline} became ${system.timeline}`);
  }
  return FOLLOW;
}

function gap(reason: GapReason, detail: string): Verdict {
  return { kind: "gap", reason, detail };
}

/** Another system's tables must never be merged into this ledger. Throws `NeedsOperator` with both ids. */
export function requireSystem(position: Position, { systemId }: System): void {
  if (systemId === position.systemId) return;
  throw new NeedsOperator(
    `the store belongs to Postgres system ${position.systemId}, but this is system ${systemId}`,
    {
      reason: "system_changed",
      hint: "point --database-url at the system that the store belongs to, or give this one its own --state",
    },
  );
}
