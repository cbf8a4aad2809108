// The ledger against the tables, by id, at one LSN: C, where a temporary slot exports a snapshot. The tables go through the same
// `step` as everything else; what they tell is compared with what the ledger had counted up to C. Nothing is repaired.

import { setImmediate as yieldToLoop, setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config.ts";
import { NeedsOperator, Transient } from "../errors.ts";
import type { Log } from "../log.ts";
import { type Lsn, formatLsn } from "../lsn.ts";
import { type Micros, SECOND } from "../change/micros.ts";
import type { Fact } from "../derive/fact.ts";
import { HeldStarts } from "../derive/held.ts";
import { GRACE } from "../derive/overdue.ts";
import { stagedOver } from "../derive/staged.ts";
import { seenReady } from "../derive/starts.ts";
import { NOTHING_KNOWN } from "../derive/state.ts";
import type { Event } from "../derive/step.ts";
import { type Compared, Comparison, type Standing } from "../store/compare.ts";
import { type Findings, Sorter } from "./drift.ts";
import { requireSystem } from "./judge.ts";
import { RowClock } from "./row-clock.ts";
import { type RowsRead, openTables, tableEvents, temporaryName } from "./snapshot.ts";

/** One statement that reads tables may take this long on the server. */
const READ_WITHIN_MS = 30 * 60_000;
/** A follower stores its position every 10 s, also when there is no news. */
const STUCK_AFTER_MS = 60_000;
const LOOK_EVERY_MS = 200;
/** Who follows tells of an agent whose time is up after its grace, and a stream's time is asked for every ten seconds. */
const TOLD_WITHIN: Micros = 5 * 60 * SECOND;

export interface VerifyOptions {
  readonly config: Pick<Config, "database" | "slot" | "statePath" | "baseline">;
  readonly log: Log;
  /** How long the ledger may stand still while it is waited for. Default 60 s. */
  readonly stuckAfterMs?: number | undefined;
  /** How long a statement that reads tables may take on the server. Default 30 minutes. */
  readonly readWithinMs?: number | undefined;
  /** Ends it at once; nothing is left on the server or on disk. */
  readonly signal: AbortSignal;
}

export interface Report extends Findings {
  /** C: where the tables were read. */
  readonly at: Lsn;
  readonly rows: Readonly<RowsRead>;
  /** Facts that the tables told, by kind. */
  readonly compared: Readonly<Record<Compared, number>>;
}

/**
 * Compares the store's file with the tables. Somebody must follow with the store meanwhile: this process or another one.
 * Throws `NeedsOperator` or `Transient`.
 */
export async function verify(options: VerifyOptions): Promise<Report> {
  const { config, log, signal, readWithinMs = READ_WITHIN_MS } = options;
  using comparison = new Comparison(config.statePath);
  const standing = comparison.standing();
  if (!comparison.followed) throw notFollowed(config.statePath, standing);
  await using tables = await openTables({
    clientConfig: await config.database(),
    temporarySlot: temporaryName(config.slot, "verify"),
    log,
    signal,
  });
  const { reader, consistent: at } = tables;
  requireSystem(standing, tables.system);
  await reader.query(`set statement_timeout = ${readWithinMs}`);
  const rows: RowsRead = { builds: 0, agents: 0 };
  const clock = new RowClock(tables.at);
  const reading = { rows, onUnknown: leaveUnknown, clock, grace: GRACE };
  const starts = new HeldStarts();
  for await (const events of tableEvents(tables, reading)) {
    comparison.tell(factsOf(events));
    starts.hold(events);
    await yieldToLoop();
    signal.throwIfAborted();
  }
  for (const some of starts.take()) {
    comparison.tell(some.flatMap((start) => seenReady(start) ?? []));
    await yieldToLoop();
    signal.throwIfAborted();
  }
  await ledgerReaches(at, comparison, options);
  const sorter = new Sorter({ reader, log, fromTables: config.baseline === "tables" });
  const decided = clock.now - GRACE;
  const told = (tables.at ?? Number.NEGATIVE_INFINITY) - TOLD_WITHIN;
  for (const differences of comparison.differences(at, { decided, told })) {
    await sorter.add(differences);
    await yieldToLoop();
    signal.throwIfAborted();
  }
  return { at, rows, compared: comparison.told, ...sorter.findings };
}

/** Enum values are the follower's to report. */
const leaveUnknown = (): void => undefined;

/** Against an empty ledger: the tables bring a build together with its job, and each id once. */
function factsOf(events: readonly Event[]): readonly Fact[] {
  return stagedOver(NOTHING_KNOWN, events).facts;
}

/** Waits until everything up to C is in the ledger, for as long as it comes nearer. */
async function ledgerReaches(
  at: Lsn,
  comparison: Comparison,
  { config, signal, stuckAfterMs = STUCK_AFTER_MS }: VerifyOptions,
): Promise<void> {
  let standing = comparison.standing();
  let movedAt = performance.now();
  while (standing.end < at) {
    if (!comparison.followed) throw notFollowed(config.statePath, standing, at);
    await sleep(LOOK_EVERY_MS, undefined, { signal });
    const { end } = standing;
    standing = comparison.standing();
    if (standing.end !== end) movedAt = performance.now();
    if (performance.now() - movedAt > stuckAfterMs) {
      throw new Transient(
        `the ledger stays at ${formatLsn(standing.end)} and does not reach ${formatLsn(at)}, where the tables were read`,
        { reason: "not_following" },
      );
    }
  }
}

function notFollowed(statePath: string, { end }: Standing, at?: Lsn): NeedsOperator {
  const tables = at === undefined ? "" : `, the tables were read at ${formatLsn(at)}`;
  return new NeedsOperator(
    `nobody follows with the store ${statePath}: it stands at ${formatLsn(end)}${tables}`,
    {
      reason: "not_followed",
      hint: "start `serve` and run `verify` beside it: the tables are always newer than a ledger that stands still",
    },
  );
}
