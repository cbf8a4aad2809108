// Settings of the server that following does not need and its operator does, and what a standby sees of its primary.

import { must } from "../../errors.ts";
import { codeOf } from "../errors.ts";
import type { Session } from "../session.ts";
import type { Diagnosis } from "./diagnosis.ts";

export interface ServerFacts {
  readonly version: string;
  readonly number: number;
  readonly standby: boolean;
  readonly walLevel: string;
  /** `max_slot_wal_keep_size` in megabytes; -1: no limit. */
  readonly keepMegabytes: number;
  /** Of a standby; empty: none. */
  readonly primarySlot: string;
  /** `idle_replication_slot_timeout` in seconds; 0: none, or a server without. */
  readonly idleSeconds: number;
}

const FACTS = `
  select pg_catalog.current_setting('server_version') as version,
    pg_catalog.current_setting('server_version_num')::int as number,
    pg_catalog.pg_is_in_recovery() as standby,
    pg_catalog.current_setting('wal_level') as "walLevel",
    coalesce((select setting::int from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'), -1) as "keepMegabytes",
    coalesce(pg_catalog.current_setting('primary_slot_name', true), '') as "primarySlot",
    coalesce((select setting::int * case unit when 'min' then 60 else 1 end
              from pg_catalog.pg_settings where name = 'idle_replication_slot_timeout'), 0) as "idleSeconds"`;

export async function serverFacts(session: Session): Promise<ServerFacts> {
  return must((await session.query<ServerFacts & Record<string, unknown>>(FACTS))[0], "no server");
}

/** What its settings can lead to. Pure. */
export function serverVerdict(facts: ServerFacts): Diagnosis[] {
  return [...keepVerdict(facts), ...idleVerdict(facts), ...standbyVerdict(facts)];
}

function keepVerdict({ keepMegabytes }: ServerFacts): Diagnosis[] {
  if (keepMegabytes >= 0) return [];
  return [
    {
      check: "max_slot_wal_keep_size",
      severity: "risk",
      problem:
        "max_slot_wal_keep_size is unlimited: a slot that nobody reads holds back WAL until the disk is full",
      fix: "alter system set max_slot_wal_keep_size = '10GB'; -- or what the disk can spare\nselect pg_reload_conf();",
    },
  ];
}

/** Read in bursts, a slot is used every few seconds: only one whose follower is away runs out of time. */
function idleVerdict({ idleSeconds }: ServerFacts): Diagnosis[] {
  const day = 86_400;
  if (idleSeconds === 0 || idleSeconds >= day) return [];
  return [
    {
      check: "idle_replication_slot_timeout",
      severity: "note",
      problem: `a slot that is not read for ${idleSeconds} s is lost (idle_replication_slot_timeout); a longer outage of Firstlight is then healed by reading the tables`,
      fix: "alter system set idle_replication_slot_timeout = '1d';\nselect pg_reload_conf();",
    },
  ];
}

function standbyVerdict({ standby, primarySlot }: ServerFacts): Diagnosis[] {
  if (!standby || primarySlot !== "") return [];
  return [
    {
      check: "primary_slot_name",
      severity: "risk",
      problem:
        "this standby has no slot on its primary (primary_slot_name): while it is cut off, a vacuum there invalidates the slot here, and WAL that it still needs is removed",
      fix: [
        "select pg_create_physical_replication_slot('firstlight_standby', true); -- on the primary",
        "alter system set primary_slot_name = 'firstlight_standby'; -- on the standby, and the next line, too",
        "select pg_reload_conf();",
      ].join("\n"),
    },
  ];
}

/** Never made by anybody, so that asking for it changes nothing: whether decoding is possible is looked at first. */
const NO_SLOT = "firstlight_doctor_asks_for_no_slot";

/**
 * Tries to decode. A standby does not tell the primary's wal_level by any function, but it refuses to decode below `logical`, before
 * it looks for the slot.
 */
export async function tryDecoding(session: Session, facts: ServerFacts): Promise<Diagnosis[]> {
  // Its own setting is a finding of its own.
  if (facts.walLevel !== "logical") return [];
  try {
    await session.query("select from pg_catalog.pg_logical_slot_peek_binary_changes($1, null, 0)", [
      NO_SLOT,
    ]);
  } catch (error) {
    if (codeOf(error) === "55000") return [decodingVerdict(facts, error)];
    // 42704: no such slot, as it should be. 42501: the role may not replicate, which another check says with its fix.
    if (!["42704", "42501"].includes(codeOf(error) ?? "")) throw error;
  }
  return [];
}

function decodingVerdict({ standby }: ServerFacts, error: unknown): Diagnosis {
  const message = error instanceof Error ? error.message : "";
  return {
    check: "wal_level",
    severity: "problem",
    problem: `this server can not decode: ${message}`,
    fix: standby
      ? "alter system set wal_level = 'logical'; -- on the primary, then restart it"
      : "alter system set wal_level = 'logical'; -- then restart",
  };
}
