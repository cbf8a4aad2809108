// A deployment with some history that is followed, and its ledger file for verifying and for meddling with.

import { DatabaseSync } from "node:sqlite";
import type pg from "pg";
import { type Simulation, openSimulation } from "../../../src/demo/coder/simulation.ts";
import { type Config, parseConfig } from "../../../src/config.ts";
import { createLog } from "../../../src/log.ts";
import { type Report, type VerifyOptions, verify } from "../../../src/pipeline/verify.ts";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { createDatabase } from "../../support/database.ts";
import { publish, uniqueSlot } from "../../support/firstlight.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

export interface Scene extends AsyncDisposable {
  readonly url: string;
  readonly client: pg.Client;
  readonly simulation: Simulation;
  readonly slot: string;
  readonly statePath: string;
  readonly config: Config;
  /** Lines that `verify` logged. */
  readonly log: readonly string[];
  /** Compares, in this process. */
  verify(options?: Partial<VerifyOptions>): Promise<Report>;
}

export interface SceneOptions {
  readonly seed: number;
  /** Workflows before anybody follows. */
  readonly history: number;
  readonly divergent?: boolean;
}

/** Opens the deployment; nobody follows it yet. */
export async function openScene({ seed, history, divergent }: SceneOptions): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createDatabase());
  const client = await database.client();
  await publish(client);
  const folder = stack.use(await temporaryFolder());
  const simulation = stack.use(
    openSimulation({ url: database.url, seed, startAt: START_AT, divergent: divergent ?? false }),
  );
  await simulation.seedDeployment();
  await simulation.run({ workflows: history });
  const slot = uniqueSlot();
  const statePath = folder.path("firstlight.db");
  const config = parseConfig({
    flags: { databaseUrl: database.url, state: statePath, slot },
    env: {},
    readFile: () => "",
  });
  const lines: string[] = [];
  const log = createLog({ level: "debug", format: "json", write: (line) => void lines.push(line) });
  const owned = stack.move();
  return {
    url: database.url,
    client,
    simulation,
    slot,
    statePath,
    config,
    log: lines,
    verify: (options = {}) =>
      verify({ config, log, signal: new AbortController().signal, ...options }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Changes the ledger by hand while nobody has it open. */
export function meddle(statePath: string, work: (db: DatabaseSync) => void): void {
  const db = new DatabaseSync(statePath);
  try {
    work(db);
  } finally {
    db.close();
  }
}

/** How many temporary slots of ours the server has. */
export async function temporarySlots(client: pg.Client, slot: string): Promise<number> {
  const { rows } = await client.query<{ slots: number }>(
    "select count(*)::int as slots from pg_replication_slots where temporary and slot_name like $1",
    [`${slot}\\_%`],
  );
  return rows[0]?.slots ?? 0;
}

export const NO_DRIFT = { missing: 0, extra: 0, revised: 0, vanished: 0 };
