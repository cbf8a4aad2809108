// What happened: the news that the three published tables carry, one object per piece of news, never per heartbeat.
// Columns and their meaning: Coder's coderd/database/dump.sql.

import type { Lsn } from "../lsn.ts";
import type { Micros } from "./micros.ts";

/** Lower-case canonical text, as Postgres prints it. */
export type Uuid = string;

/** What builds do today. A newer Coder may know more: those are no starts, so no first builds. */
export const TRANSITIONS = ["start", "stop", "delete"] as const;
export type Transition = (typeof TRANSITIONS)[number];

/** A `workspace_builds` row. All of these columns are immutable, so only INSERTs are news. */
export interface BuildRow {
  readonly kind: "build";
  readonly id: Uuid;
  readonly workspace: Uuid;
  readonly job: Uuid;
  readonly version: Uuid;
  readonly number: number;
  /** Coder's word, also one that this version does not know. */
  readonly transition: string;
  readonly initiator: Uuid;
  readonly reason: string;
  readonly preset: Uuid | null;
  readonly createdAt: Micros;
}

/** A `provisioner_jobs` row. `failed`: its error column is neither NULL nor empty; the text itself is never kept. */
export interface JobRow {
  readonly kind: "job";
  readonly id: Uuid;
  readonly type: string;
  readonly provisioner: string;
  readonly initiator: Uuid;
  readonly worker: Uuid | null;
  readonly createdAt: Micros;
  readonly startedAt: Micros | null;
  readonly canceledAt: Micros | null;
  readonly completedAt: Micros | null;
  readonly failed: boolean;
  /** Coder's short code, e.g. `REQUIRED_TEMPLATE_VARIABLES`; NULL for most failures. */
  readonly errorCode: string | null;
  /**
   * It has not ended, whatever was told before: read from the tables, or its end was seen to be taken back. Else a row without an end may be
   * an old one that is told again.
   */
  readonly isOpen?: boolean;
}

/** A `workspace_agents` row. `isNew`: an INSERT, so where it belongs must be looked up. */
export interface AgentRow {
  readonly kind: "agent";
  readonly isNew: boolean;
  readonly id: Uuid;
  readonly resource: Uuid;
  readonly parent: Uuid | null;
  readonly name: string;
  readonly createdAt: Micros;
  readonly firstConnectedAt: Micros | null;
  readonly lifecycle: string;
  readonly readyAt: Micros | null;
  readonly deleted: boolean;
}

/** A row deleted by hand-written SQL: Coder never deletes from these tables. The stream carries the key only. */
export interface GoneRow {
  readonly kind: "gone";
  readonly table: Table;
  readonly id: Uuid;
}

export type Row = BuildRow | JobRow | AgentRow | GoneRow;

export const TABLES = ["workspace_builds", "provisioner_jobs", "workspace_agents"] as const;
export type Table = (typeof TABLES)[number];

/** One committed transaction with news in it. */
export interface Tx {
  /** 32-bit id from Begin; null for rows that were read from tables. */
  readonly xid: number | null;
  /** First byte after the commit record: the only position that is ordered, stored and acknowledged. */
  readonly end: Lsn;
  /** Commit time by the server's clock. */
  readonly at: Micros;
  readonly rows: readonly Row[];
}

/** The system user that owns unclaimed prebuilds (Coder migration 000308). */
export const PREBUILDS_USER: Uuid = "c42fdf75-3097-471c-8c33-fb52454d81c0";
