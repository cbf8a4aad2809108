// Whether the stream may be followed from where the store stands: the table of design section 6 as a pure decision.

import { NeedsOperator } from "../errors.ts";
import { formatLsn } from "../lsn.ts";
import type { SlotState, System } from "../postgres/slot.ts";
import type { Position } from "../store/position.ts";

/** Why WAL may have been consumed without being counted. */
export type GapReason =
  | "slot_missing"
  | "slot_lost"
  | "slot_changed"
  | "slot_ahead"
  | "publication_changed"
  | "timeline_changed";

export type Verdict =
  | { readonly kind: "follow" }
  | { readonly kind: "gap"; readonly reason: GapReason; readonly detail: string };

const FOLLOW: Verdict = { kind: "follow" };

export interface Observed {
  /** Who answers; null before START has been tried. */
  readonly system: System | null;
  readonly slot: SlotState | null;
  readonly slotName: string;
  readonly database: string;
  readonly publication: string;
}

/** Judges what was found against the stored position. Throws `NeedsOperator` when it is another system altogether. */
export function judge(position: Position, observed: Observed): Verdict {
  const { system, slot } = observed;
  if (system && system.systemId !== position.systemId) {
    throw new NeedsOperator(
      `the store belongs to Postgres system ${position.systemId}, but this is system ${system.systemId}`,
      {
        reason: "system_changed",
        hint: "point --database-url at the system that the store belongs to, or give this one its own --state",
      },
    );
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
  if (system && system.timeline !== position.timeline) {
    return gap("timeline_changed", `timeline ${position.timeline} became ${system.timeline}`);
  }
  return FOLLOW;
}

function gap(reason: GapReason, detail: string): Verdict {
  return { kind: "gap", reason, detail };
}
