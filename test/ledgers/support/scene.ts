// A deployment with some history and a slot that is parked there, and the ways to read a ledger of it.

import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { expect } from "vitest";
import { type Simulation, openSimulation } from "../../../src/demo/coder/simulation.ts";
import type { Fact } from "../../../src/derive/fact.ts";
import { NeedsOperator } from "../../../src/errors.ts";
import { ledgerFromSlot } from "../../../src/pipeline/ledger-from-slot.ts";
import { ledgerFromTables } from "../../../src/pipeline/ledger-from-tables.ts";
import type { TemporaryLedger } from "../../../src/pipeline/temporary-ledger.ts";
import { type TestDatabase, createDatabase } from "../../support/database.ts";
import { publish, uniqueSlot, until } from "../../support/firstlight.ts";
import { factsIn, readingOf } from "./reading.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

export interface Scene extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly client: pg.Client;
  readonly simulation: Simulation;
  /** A slot that nobody follows, made after the history. */
  readonly parked: string;
}

export interface SceneOptions {
  readonly seed: number;
  /** Workflows before the slot. */
  readonly history: number;
  readonly divergent?: boolean;
}

export async function openScene({ seed, history, divergent }: SceneOptions): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createDatabase());
  const client = await database.client();
  await publish(client);
  const simulation = stack.use(
    openSimulation({ url: database.url, seed, startAt: START_AT, divergent: divergent ?? false }),
  );
  await simulation.seedDeployment();
  if (history > 0) await simulation.run({ workflows: history });
  const parked = await park(client);
  const owned = stack.move();
  return {
    database,
    client,
    simulation,
    parked,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Makes a slot that nobody follows; gives its name. */
export async function park(client: pg.Client): Promise<string> {
  const name = uniqueSlot();
  await client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
  return name;
}

/** Facts by kind and id. */
export type Facts = ReadonlyMap<string, Fact>;

export async function factsFromTables(url: string): Promise<Facts> {
  await using ledger = await ledgerFromTables(readingOf(url));
  return factsOf(ledger);
}

export async function factsFromSlot(url: string, slot: string): Promise<Facts> {
  await using ledger = await ledgerFromSlot({ ...readingOf(url), slot });
  return factsOf(ledger);
}

export function factsOf({ path }: Pick<TemporaryLedger, "path">): Facts {
  return byId(factsIn(path));
}

export function byId(facts: Iterable<Fact>): Facts {
  return new Map([...facts].map((fact) => [`${fact.kind} ${fact.id}`, fact]));
}

/**
 * Without what says who told it and when, and what can be built: a slot and a store know more of that than the tables of today. And without
 * starts, which Coder rewrites all day, so that tables tell others.
 */
export function told(facts: Facts, without: readonly string[] = []): Record<string, unknown> {
  const kept = [...facts].filter(
    ([, fact]) => fact.kind !== "offered" && fact.kind !== "ready" && !isToldByTime(facts, fact),
  );
  const left = new Set(["end", ...without]);
  return Object.fromEntries(
    kept
      .map(
        ([key, fact]) => [key, Object.entries(fact).filter(([field]) => !left.has(field))] as const,
      )
      .map(([key, fields]) => [key, Object.fromEntries(fields)]),
  );
}

/** An agent that never connected: when that is told depends on the time, and not on what is read. */
export function isToldByTime(facts: Facts, { kind, id }: Pick<Fact, "kind" | "id">): boolean {
  return kind === "overdue" && !facts.has(`connected ${id}`);
}

/** Where a slot stands. */
export async function placeOf(
  client: pg.Client,
  slot: string,
): Promise<{ readonly confirmed: string; readonly restart: string }> {
  const { rows } = await client.query<{ confirmed: string; restart: string }>(
    `select confirmed_flush_lsn::text as confirmed, restart_lsn::text as restart
     from pg_replication_slots where slot_name = $1`,
    [slot],
  );
  return rows[0] ?? { confirmed: "", restart: "" };
}

/** What readings have in the folder for temporary files: nothing but while they, or their ledgers, last. */
export interface Files extends AsyncDisposable {
  left(): Promise<readonly string[]>;
}

/** Has temporary files of this process in a folder of the test's. */
export async function ownTemporaryFolder(): Promise<Files> {
  const before = process.env["TMPDIR"];
  const folder = await mkdtemp(join(tmpdir(), "firstlight-ledgers-"));
  // As root the servers that a test starts run as another user, who must get here.
  await chmod(folder, 0o755);
  process.env["TMPDIR"] = folder;
  return {
    left: async () =>
      (await readdir(folder)).filter((name) => name.startsWith("firstlight-backfill-")),
    async [Symbol.asyncDispose]() {
      if (before === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = before;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A server notices within some seconds that its client is gone. */
export async function expectNoCopy(client: pg.Client, slot: string): Promise<void> {
  await until("no copy of the slot is left", async () => (await copiesOf(client, slot)) === 0);
}

export async function copiesOf(client: pg.Client, slot: string): Promise<number> {
  const { rows } = await client.query<{ copies: number }>(
    "select count(*)::int as copies from pg_replication_slots where starts_with(slot_name, $1)",
    [`${slot}_backfill_`],
  );
  return rows[0]?.copies ?? 0;
}

/** What it needs an operator for. */
export async function refusal(
  reading: Promise<AsyncDisposable>,
): Promise<Pick<NeedsOperator, "reason" | "message" | "hint">> {
  try {
    await using _ledger = await reading;
  } catch (error) {
    expect(error).toBeInstanceOf(NeedsOperator);
    const { reason, message, hint } = error as NeedsOperator;
    return { reason, message, hint };
  }
  throw new Error("it was not refused");
}
