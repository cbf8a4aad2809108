// What Firstlight knows about itself: plain numbers that the pipeline writes and a scrape reads. Never SQL, never a wait.

import { Histogram } from "prom-client";
import { newCounts } from "../change/counts.ts";
import type { Micros } from "../change/micros.ts";
import { type WaitingKind, perWaiting } from "../derive/state.ts";
import { type FactKind, perFact } from "../derive/fact.ts";
import type { Lsn } from "../lsn.ts";

/** What the server said of our slot when it was last asked. */
export interface SlotVitals {
  readonly active: boolean;
  readonly confirmed: Lsn;
  readonly retainedBytes: number;
  readonly safeBytes: number | null;
  readonly walStatus: string;
  readonly catalogXminAge: number | null;
}

/** How ledger and tables can disagree about an id. */
export const DRIFT_KINDS = ["missing", "extra", "revised", "vanished"] as const;
export type DriftKind = (typeof DRIFT_KINDS)[number];

export class Vitals {
  /** Totals are shown. Latched: stays through reconnects. */
  ready = false;
  catchingUp = true;
  connected = false;
  /** Connected, and reading now and then: between two bursts nobody holds the slot. */
  inBursts = false;
  received: Lsn | null = null;
  /** Everything up to here is counted and visible. The durable position may be behind it by a stretch without news. */
  applied: Lsn | null = null;
  durable: Lsn | null = null;
  /** Of the server, as last asked. */
  timeline: number | null = null;
  slot: SlotVitals | null = null;
  /** Wall clock of the last byte from the server, and the server's commit time of the last transaction with news. */
  lastMessageAt: Micros | null = null;
  lastCommitAt: Micros | null = null;
  baselines = 0;
  /** Rows that the baseline at hand has read; null while there is none. */
  baseline: { readonly builds: number; readonly agents: number } | null = null;
  reconnects = 0;
  readonly stream = newCounts();
  readonly facts: Record<FactKind, number> = perFact(() => 0);
  readonly gaps = new Map<string, number>();
  /** A gap was found that is not healed yet. */
  inGap = false;
  /** Somebody consumed what the ledger does not have, and it is not healed yet. */
  behind = false;
  readonly lookups: Record<"found" | "missing" | "held", number> = {
    found: 0,
    missing: 0,
    held: 0,
  };
  /** By `table.column`. */
  readonly unknownValues = new Map<string, number>();
  waiting: Readonly<Record<WaitingKind, number>> = perWaiting(() => 0);
  divergent: Readonly<Record<FactKind, number>> = perFact(() => 0);
  /** What the last `verify` of this process found, and when it ended by the wall clock; null before the first. */
  verified: {
    readonly drift: Readonly<Record<DriftKind, number>>;
    readonly at: Micros;
  } | null = null;
  /** What keeps us from following, for people: a message without secrets. */
  trouble: {
    readonly reason: string;
    readonly message: string;
    readonly hint: string | null;
  } | null = null;

  /** Commit on the server → visible here. */
  readonly eventDelay = new Histogram({
    name: "firstlight_event_delay_seconds",
    help: "Seconds from a transaction's commit, by the server's clock, until its facts were visible here.",
    buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    registers: [],
  });
  readonly storeCommit = new Histogram({
    name: "firstlight_store_commit_seconds",
    help: "Seconds that a commit of the store took, fsync included.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers: [],
  });

  count<K>(map: Map<K, number>, key: K, by = 1): void {
    map.set(key, (map.get(key) ?? 0) + by);
  }
}
