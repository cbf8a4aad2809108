// Our slot as it stands: whether somebody reads it, what it holds back, and how long until it is lost.

import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { must } from "../../errors.ts";
import { slotHolder } from "../slot-lock.ts";
import { type SlotState, WAL_END, isLost, readSlot } from "../slot.ts";
import type { Session } from "../session.ts";
import { type Diagnosis, type Seen, bytesText, saidBy, spanText } from "./diagnosis.ts";

/** Below this, at the rate of now, an outage of an hour loses the slot. */
const SHORT_SECONDS = 3_600;
/** What an outage may take, at the least, where more room is asked for. */
const OUTAGE_SECONDS = 4 * 3_600;
/** Nobody reads the slot, and it holds back no more than a server writes by itself: it may have been made a moment ago. */
const IDLE_BYTES = 64 * 2 ** 20;

export interface SlotSight extends Pick<
  SlotState,
  "walStatus" | "invalidation" | "retainedBytes" | "safeBytes" | "catalogXminAge"
> {
  readonly name: string;
  /** Held by a stream, or locked by a Firstlight that reads in bursts. */
  readonly inUse: boolean;
  /** Null: this server has no such flag, or is a standby. */
  readonly failover: boolean | null;
  /** WAL that the server writes, in bytes a second. */
  readonly rate: number;
  /** What `serve` lets it hold back, in bytes; null: anything. */
  readonly limit: number | null;
  /** `autovacuum_freeze_max_age`, in transactions. */
  readonly freezeAge: number;
}

/** What is wrong with it, and what is to be said of it. Pure. */
export function slotVerdict(sight: SlotSight): Seen {
  const { name, walStatus, invalidation, retainedBytes, safeBytes, catalogXminAge: age } = sight;
  const drop = `select pg_drop_replication_slot(${pg.escapeLiteral(name)});`;
  const found: Diagnosis[] = [];
  const risk = (problem: string, fix: string): void =>
    void found.push({ check: "slot", severity: "risk", problem: `slot ${name} ${problem}`, fix });
  if (isLost(sight)) {
    const fix = `${drop} -- or start \`firstlight serve\`: it makes a new one, and heals from the tables`;
    risk(`is lost (${invalidation ?? walStatus})`, fix);
    return { found, about: [] };
  }
  if (!sight.inUse) {
    const much = retainedBytes > IDLE_BYTES ? `, and holds back ${bytesText(retainedBytes)}` : "";
    const fix = `${drop} -- if it is not needed any more; else start \`firstlight serve\` with it`;
    risk(`is there, but nobody reads it${much}`, fix);
  }
  const left = safeBytes === null ? Number.POSITIVE_INFINITY : safeBytes / sight.rate;
  if (walStatus === "unreserved" || (safeBytes !== null && safeBytes <= 0)) {
    risk(
      "holds back more than max_slot_wal_keep_size and is lost at the next checkpoint",
      raised(2 * retainedBytes),
    );
  } else if (left < SHORT_SECONDS) {
    const problem = `is lost in ${spanText(left)} if nobody reads it: the server writes ${bytesText(sight.rate)} of WAL a second now`;
    risk(problem, raised(retainedBytes + sight.rate * OUTAGE_SECONDS));
  }
  if (sight.limit !== null && retainedBytes > sight.limit) {
    const problem = `holds back ${bytesText(retainedBytes)}, more than serve lets it (--max-slot-lag, ${bytesText(sight.limit)}): it would be dropped and healed from the tables`;
    risk(problem, `give --max-slot-lag ${Math.ceil((2 * retainedBytes) / 2 ** 30)}GB`);
  }
  if (age !== null && age > sight.freezeAge / 2) {
    const problem = `keeps rows of the catalogs from being vacuumed for ${age.toLocaleString("en-US")} transactions`;
    risk(problem, `${drop} -- or start \`firstlight serve\`, which moves it on`);
  }
  if (sight.failover === false) found.push(failoverNote(name));
  return { found, about: [about(sight, left)] };
}

const raised = (bytes: number): string =>
  `alter system set max_slot_wal_keep_size = '${Math.max(1, Math.ceil(bytes / 2 ** 30))}GB'; -- if the disk can spare it\nselect pg_reload_conf();`;

function failoverNote(name: string): Diagnosis {
  return {
    check: "failover",
    severity: "note",
    problem: `slot ${name} is not synchronised to standbys: after a failover it is not there, which is healed by reading the tables`,
    fix: `ALTER_REPLICATION_SLOT ${pg.escapeIdentifier(name)} (FAILOVER true); -- on a replication connection while nobody reads the slot: psql "… replication=database"; standbys need sync_replication_slots = on`,
  };
}

function about(sight: SlotSight, left: number): string {
  const { name, retainedBytes, safeBytes, rate, catalogXminAge } = sight;
  const room =
    safeBytes === null
      ? "may hold back any amount"
      : `is lost after ${bytesText(Math.max(0, safeBytes))} more, ${spanText(left)} at ${bytesText(rate)} a second`;
  return `slot ${name}: holds back ${bytesText(retainedBytes)} of WAL, ${room}; its catalog_xmin is ${catalogXminAge ?? 0} transactions old`;
}

const MORE = `
  select pg_catalog.to_jsonb(slot)->'failover' as failover, pg_catalog.pg_is_in_recovery() as standby,
    pg_catalog.current_setting('autovacuum_freeze_max_age')::int as "freezeAge"
  from pg_catalog.pg_replication_slots as slot where slot.slot_name = $1`;

export interface SlotQuestion {
  readonly session: Session;
  readonly slot: string;
  readonly limit: number | null;
  /** How long the WAL is watched for its rate, in milliseconds. */
  readonly measureMs: number;
  readonly signal: AbortSignal;
}

/** Looks at the slot, if there is one. */
export async function lookAtSlot({ session, slot, ...question }: SlotQuestion): Promise<Seen> {
  try {
    const state = await readSlot(session, slot);
    if (state === null) return { found: [], about: [] };
    const [row] = await session.query<{
      failover: boolean | null;
      standby: boolean;
      freezeAge: number;
    }>(MORE, [slot]);
    // It went while it was looked at.
    if (row === undefined) return { found: [], about: [] };
    return slotVerdict({
      ...state,
      name: slot,
      inUse: state.activePid !== null || (await slotHolder(session, slot)) !== null,
      failover: row.standby ? null : row.failover,
      rate: await walRate(session, question),
      limit: question.limit,
      freezeAge: row.freezeAge,
    });
  } catch (error) {
    // Somebody else's slot, or one that is synchronised.
    const said = saidBy(error);
    if (said === null || question.signal.aborted) throw error;
    const finding = { check: "slot", problem: said.message, fix: said.hint } as const;
    return { found: [{ ...finding, severity: "problem" }], about: [] };
  }
}

/** WAL in bytes a second, measured for a moment. */
export async function walRate(
  session: Session,
  { measureMs, signal }: Pick<SlotQuestion, "measureMs" | "signal">,
): Promise<number> {
  const now = async (): Promise<{ at: number; position: number }> => {
    const rows = await session.query<{ at: string; position: string }>(
      `select extract(epoch from pg_catalog.clock_timestamp())::text as at,
         pg_catalog.pg_wal_lsn_diff(${WAL_END}::pg_lsn, '0/0')::text as position`,
    );
    const { at, position } = must(rows[0], "no position");
    return { at: Number(at), position: Number(position) };
  };
  const before = await now();
  await sleep(measureMs, undefined, { signal });
  const after = await now();
  return Math.max(0, after.position - before.position) / (after.at - before.at);
}
