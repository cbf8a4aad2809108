// `demo`: an embedded Postgres 18, a simulated Coder deployment writing to it, and `serve` following it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { type Config, type RawFlags, UsageError } from "../config.ts";
import { createLog } from "../log.ts";
import { SECOND } from "../change/micros.ts";
import { startServer } from "../demo/server.ts";
import { createCoderSchema } from "../demo/coder/schema.ts";
import { whatIsLeft } from "../demo/coder/adopt.ts";
import { type Simulation, openSimulation } from "../demo/coder/simulation.ts";
import { publicationSql } from "../postgres/publication.ts";
import { serve } from "./serve.ts";

/** The simulation starts this far in the past and runs fast until it has caught up with the clock. */
const HISTORY_SECONDS = 6 * 3600;
const FIRST_WORKFLOWS = 40;

export interface DemoFlags {
  readonly dataDir?: string | undefined;
  readonly seed: number;
  readonly speed: number;
}

export interface DemoOptions extends DemoFlags {
  readonly config: Config;
  readonly version: string;
  readonly signal: AbortSignal;
  /** Writes a line for the person at the terminal. */
  readonly print: (line: string) => void;
}

/** Reads the demo's own flags. Throws `UsageError` with all mistakes. */
export function parseDemoFlags(flags: RawFlags): DemoFlags {
  const mistakes: string[] = [];
  const number = (name: string, value: RawFlags[string], fallback: number): number => {
    const parsed = value === undefined ? fallback : Number(value);
    if (!Number.isFinite(parsed) || parsed <= 0)
      mistakes.push(`--${name} ${String(value)}: must be a number above 0`);
    return parsed;
  };
  const seed = number("seed", flags["seed"], 1);
  const speed = number("speed", flags["speed"], 20);
  if (mistakes.length > 0) throw new UsageError(mistakes);
  const dataDir = flags["dataDir"];
  return { seed, speed, dataDir: typeof dataDir === "string" ? dataDir : undefined };
}

/** Runs until the signal aborts, then stops everything it started. */
export async function demo(options: DemoOptions): Promise<void> {
  const { config, version, signal, print, seed, speed } = options;
  // The console belongs to the person who looks at it: few lines, and only what went wrong.
  const log = createLog({
    level: config.logLevel === "info" ? "warn" : config.logLevel,
    format: "text",
  });
  await using scratch = await scratchFolder(options.dataDir);
  print("Firstlight demo: starting an embedded Postgres 18 …");
  await using server = await startServer(
    options.dataDir === undefined ? {} : { dataDir: join(scratch.path, "postgres") },
  );
  const url = await prepareDatabase(server.url(), config.publication);

  await using simulation = await beginSimulation({ url, seed, signal });

  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const clientConfig: pg.ClientConfig = { connectionString: url, application_name: "firstlight" };
  const serving = serve({
    config: {
      ...config,
      database: async () => clientConfig,
      statePath: join(scratch.path, "firstlight.db"),
    },
    log,
    version,
    signal: both,
    onListening: ({ port, scheme }) =>
      tellWhere(print, { url, port, scheme, host: config.listen.host, dataDir: options.dataDir }),
  });
  const pacing = simulation.pace({ speed, signal: both });
  try {
    await Promise.race([serving, pacing]);
  } finally {
    stop.abort();
    await Promise.allSettled([serving, pacing]);
  }
  await Promise.all([serving, pacing]);
  print("Stopped.");
}

/** A deployment with some history; in a kept folder, the one of last time. */
async function beginSimulation(options: {
  url: string;
  seed: number;
  signal: AbortSignal;
}): Promise<Simulation> {
  const { url, seed, signal } = options;
  const longAgo = (Date.now() - HISTORY_SECONDS * 1000) * (SECOND / 1000);
  const left = await whatIsLeft(url);
  if (left) {
    const startAt = Math.max(longAgo, Math.min(left.newest, Date.now() * (SECOND / 1000)));
    const simulation = openSimulation({ url, seed: seed + left.workspaces, startAt });
    await simulation.adoptDeployment(left);
    return simulation;
  }
  const simulation = openSimulation({ url, seed, startAt: longAgo });
  await simulation.seedDeployment();
  await simulation.run({ workflows: FIRST_WORKFLOWS, signal });
  return simulation;
}

/** Coder's schema and our publication, unless a kept data folder has them already. */
async function prepareDatabase(adminUrl: string, publication: string): Promise<string> {
  const admin = new pg.Client(adminUrl);
  await admin.connect();
  const { rowCount } = await admin.query("select from pg_database where datname = 'coder'");
  if (rowCount === 0) await admin.query("create database coder");
  await admin.end();
  const url = adminUrl.replace(/\/postgres$/, "/coder");
  const coder = new pg.Client(url);
  await coder.connect();
  if (rowCount === 0) {
    await createCoderSchema(coder);
    await coder.query(
      publicationSql({ publication, version: 180_000, wholeTables: false, schema: "public" }),
    );
  }
  await coder.end();
  return url;
}

async function scratchFolder(
  dataDir: string | undefined,
): Promise<AsyncDisposable & { path: string }> {
  const path = dataDir ?? (await mkdtemp(join(tmpdir(), "firstlight-demo-")));
  return {
    path,
    async [Symbol.asyncDispose]() {
      if (dataDir === undefined) await rm(path, { recursive: true, force: true });
    },
  };
}

function tellWhere(
  print: (line: string) => void,
  {
    url,
    port,
    scheme,
    host,
    dataDir,
  }: { url: string; port: number; scheme: string; host: string; dataDir: string | undefined },
): void {
  const at = `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  print(`  Postgres    ${url}${dataDir === undefined ? "   (temporary)" : `   (in ${dataDir})`}`);
  print(`  Firstlight  ${at}/          status`);
  print(`              ${at}/metrics   what Prometheus scrapes`);
  print(
    "  Simulated Coder traffic is running: creates, failures, cancels, prebuilds, claims, heartbeats.",
  );
  print(
    "  ^C stops everything. To follow your own database: FIRSTLIGHT_DATABASE_URL=postgres://… npm start",
  );
}
