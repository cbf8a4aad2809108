// Health metrics as data: name, type, help, and how each is read from the vitals.

import { eachChange } from "../change/counts.ts";
import { SECOND } from "../change/micros.ts";
import type { Vitals } from "./vitals.ts";

/** A sample as prom-client passes it around. */
export interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  /** Where it differs from the metric's: `_bucket`, `_sum`, `_count`. */
  readonly metricName?: string;
}

type Read = (vitals: Vitals) => readonly Value[] | number | boolean | null;
export type Spec = readonly [name: string, type: "gauge" | "counter", help: string, read: Read];

const WAL_STATES = ["reserved", "extended", "unreserved", "lost"];

const byLabel = (label: string, numbers: Readonly<Record<string, number>>): Value[] =>
  Object.entries(numbers).map(([key, value]) => ({ value, labels: { [label]: key } }));
const bytes = (lsn: bigint | null): number | null => (lsn === null ? null : Number(lsn));

/** All of them but `build_info`, `series` and the two histograms. Names without `firstlight_`. */
export const HEALTH: readonly Spec[] = [
  [
    "ready",
    "gauge",
    "1 once the all-time totals have been shown; before that they are absent.",
    (v) => v.ready,
  ],
  [
    "catching_up",
    "gauge",
    "1 while the stream has not reached the position where the server was when it started.",
    (v) => v.catchingUp,
  ],
  [
    "stream_connected",
    "gauge",
    "1 while the slot is followed: by a stream, or in bursts.",
    (v) => v.connected,
  ],
  [
    "received_lsn_bytes",
    "gauge",
    "How far the server has sent, as a byte position in the WAL.",
    (v) => bytes(v.received),
  ],
  [
    "applied_lsn_bytes",
    "gauge",
    "Everything up to here is counted and visible, as a byte position in the WAL.",
    (v) => bytes(v.applied),
  ],
  [
    "durable_lsn_bytes",
    "gauge",
    "How far the ledger on disk is complete, as a byte position in the WAL.",
    (v) => bytes(v.durable),
  ],
  [
    "confirmed_lsn_bytes",
    "gauge",
    "confirmed_flush_lsn of the slot as the server last told it.",
    (v) => bytes(v.slot?.confirmed ?? null),
  ],
  [
    "timeline",
    "gauge",
    "Timeline of the server as last asked; it rises when a standby is promoted.",
    (v) => v.timeline,
  ],
  [
    "slot_active",
    "gauge",
    "1 when the slot was in use when it was last looked at: held by a process, or read in bursts by this one.",
    (v) => v.slot?.active ?? null,
  ],
  [
    "slot_retained_bytes",
    "gauge",
    "WAL that the slot holds back on the server.",
    (v) => v.slot?.retainedBytes ?? null,
  ],
  [
    "slot_safe_wal_bytes",
    "gauge",
    "WAL that can still be written before the slot is lost; absent without max_slot_wal_keep_size.",
    (v) => v.slot?.safeBytes ?? null,
  ],
  [
    "slot_wal_status",
    "gauge",
    "wal_status of the slot: 1 for the state it is in.",
    (v) => {
      const { slot } = v;
      if (!slot) return null;
      return WAL_STATES.map((state) => ({
        value: state === slot.walStatus ? 1 : 0,
        labels: { state },
      }));
    },
  ],
  [
    "slot_catalog_xmin_age",
    "gauge",
    "Transactions since the oldest catalog row that the slot keeps from being vacuumed.",
    (v) => v.slot?.catalogXminAge ?? null,
  ],
  [
    "last_message_timestamp_seconds",
    "gauge",
    "When the server was last heard.",
    (v) => seconds(v.lastMessageAt),
  ],
  [
    "last_commit_timestamp_seconds",
    "gauge",
    "Commit time, by the server's clock, of the newest transaction with news.",
    (v) => seconds(v.lastCommitAt),
  ],
  [
    "transactions_total",
    "counter",
    "Transactions received since this process started.",
    (v) => v.stream.transactions,
  ],
  [
    "changes_total",
    "counter",
    "Row changes received since this process started, by table and operation.",
    (v) =>
      [...eachChange(v.stream)].map(({ table, op, count }) => ({
        value: count,
        labels: { table, op },
      })),
  ],
  [
    "facts_total",
    "counter",
    "Facts added to the ledger since this process started, by kind.",
    (v) => byLabel("fact", v.facts),
  ],
  [
    "in_flight",
    "gauge",
    "What waits: builds whose job has not ended, agents that never connected, jobs of all types that a worker has, starts (builds that start a workspace, and of whose agents one has not come to the end of its start, or was late). A build whose job runs is in two of them.",
    (v) => byLabel("kind", v.waiting),
  ],
  [
    "gaps_total",
    "counter",
    "Stretches of WAL that were, or may have been, consumed without being counted, by reason; healed from the tables unless told to halt.",
    (v) => byLabel("reason", Object.fromEntries(v.gaps)),
  ],
  [
    "baselines_total",
    "counter",
    "Baselines completed since this process started.",
    (v) => v.baselines,
  ],
  [
    "baseline_rows",
    "gauge",
    "Builds and agents that the baseline at hand has read, by table; absent while there is none.",
    ({ baseline }) =>
      baseline &&
      byLabel("table", { workspace_builds: baseline.builds, workspace_agents: baseline.agents }),
  ],
  [
    "reconnects_total",
    "counter",
    "Times the stream broke and was started again.",
    (v) => v.reconnects,
  ],
  [
    "lookups_total",
    "counter",
    "Look-ups by primary key: found, missing (the row is gone: empty label), held (not yet visible, asked again).",
    (v) => byLabel("result", v.lookups),
  ],
  [
    "unknown_values_total",
    "counter",
    "Enum values that this version does not know; none of them can change a total.",
    (v) => byLabel("column", Object.fromEntries(v.unknownValues)),
  ],
  [
    "divergent_ids",
    "gauge",
    "Ids that were seen to be rewritten or deleted after they were counted, by kind of fact; a recount of the tables may differ by them.",
    (v) => byLabel("kind", v.divergent),
  ],
  [
    "drift",
    "gauge",
    "Ids on which ledger and tables disagreed at the last verify of this process (--verify-every), by kind; without those of divergent_ids. Absent before the first.",
    (v) => v.verified && byLabel("kind", v.verified.drift),
  ],
  [
    "verify_timestamp_seconds",
    "gauge",
    "When the last verify of this process was complete.",
    (v) => seconds(v.verified?.at ?? null),
  ],
];

/** The samples of a reading; none while it is unknown. */
export function valuesOf(read: ReturnType<Read>): readonly Value[] {
  if (read === null) return [];
  if (typeof read === "object") return read;
  return [{ value: Number(read), labels: {} }];
}

function seconds(at: number | null): number | null {
  return at === null ? null : at / SECOND;
}
