// Firstlight under test: `serve` in this process for most tests, or as a process of its own that can be killed.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { serve } from "../../src/commands/serve.ts";
import type { Config } from "../../src/config.ts";
import { parseConfig } from "../../src/config.ts";
import { serverLsn, until } from "../../src/demo/waiting.ts";
import { publicationSql } from "../../src/postgres/publication.ts";
import { createLog } from "../../src/log.ts";
import { formatLsn, parseLsn } from "../../src/lsn.ts";
import type { FollowerOptions } from "../../src/pipeline/context.ts";
import { POSTGRES } from "../matrix/binaries.ts";
import { NODE_FLAGS } from "./node-flags.ts";
import { type Scrape, parseScrape } from "./scrape.ts";

export { serverLsn, until };

export interface Firstlight extends AsyncDisposable {
  readonly port: number;
  readonly statePath: string;
  /** Lines logged so far. */
  readonly log: readonly string[];
  scrape(): Promise<Scrape>;
  get(path: string): Promise<Response>;
  /** Waits until everything that is committed on the server now is visible in a scrape, and returns that scrape. */
  caughtUp(deadlineMs?: number): Promise<Scrape>;
}

export interface StartOptions {
  readonly url: string;
  /** Default: a temporary folder, removed on dispose. */
  readonly statePath?: string;
  readonly slot?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Creates the publication as `setup --apply` would. */
export async function publish(client: pg.Client, publication = "firstlight"): Promise<void> {
  const version = POSTGRES * 10_000;
  await client.query(
    publicationSql({ publication, version, wholeTables: false, schema: "public" }),
  );
}

/**
 * How the tests read the slot, unless they say otherwise: in bursts as by default, but more often. `0` runs them on a stream;
 * `.ci/run` does both where it matters.
 */
export const READ_EVERY = process.env["FIRSTLIGHT_TEST_READ_EVERY"] ?? "100ms";
/** Whether tests that do not say how read in bursts. */
export const IN_BURSTS = READ_EVERY !== "0";
/** Tests look at every family, and at all of it, unless they say otherwise. */
export const ALL_FAMILIES = {
  FIRSTLIGHT_FAMILIES: "all",
  FIRSTLIGHT_SERIES_RETIRE_AFTER: "never",
} as const;
/** Environment of a test that is about the stream itself. */
export const STREAMING = { FIRSTLIGHT_READ_EVERY: "0" } as const;

let started = 0;

/** A slot name of its own: slots belong to the whole server, not to a database. */
export function uniqueSlot(): string {
  started += 1;
  return `fl_${process.pid}_${started}`;
}

function configFor(options: StartOptions, statePath: string, port: number): Config {
  return parseConfig({
    flags: {},
    env: {
      FIRSTLIGHT_DATABASE_URL: options.url,
      FIRSTLIGHT_SLOT: options.slot ?? uniqueSlot(),
      FIRSTLIGHT_STATE: statePath,
      FIRSTLIGHT_LISTEN: `127.0.0.1:${port}`,
      FIRSTLIGHT_READ_EVERY: READ_EVERY,
      ...ALL_FAMILIES,
      ...options.env,
    },
    readFile: () => "",
  });
}

export interface InProcess extends Firstlight {
  /** Settles when serve ends; rejects with what ended it. */
  readonly ended: Promise<void>;
}

/** Runs `serve` in this process. Does not wait for totals. */
export async function startInProcess(
  options: StartOptions & Pick<FollowerOptions, "onPoint" | "timing">,
): Promise<InProcess> {
  const folder = await mkdtemp(join(tmpdir(), "firstlight-test-"));
  const statePath = options.statePath ?? join(folder, "firstlight.db");
  const config = configFor(options, statePath, 0);
  const lines: string[] = [];
  const stop = new AbortController();
  const log = createLog({ level: "debug", format: "json", write: (line) => void lines.push(line) });
  let ended: Promise<void> | undefined;
  const port = await new Promise<number>((resolve, reject) => {
    ended = serve({
      config,
      log,
      version: "test",
      signal: stop.signal,
      onListening: (listener) => resolve(listener.port),
      onPoint: options.onPoint,
      timing: options.timing,
    });
    ended.catch(reject);
  });
  const settled = ended as Promise<void>;
  const client = clientOf(options.url, port);
  return {
    ...client,
    statePath,
    log: lines,
    ended: settled,
    caughtUp: (deadlineMs) =>
      Promise.race([
        client.caughtUp(deadlineMs),
        settled.then(() => Promise.reject(new Error("serve ended"))),
      ]),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await settled.catch(() => undefined);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface Process extends Firstlight {
  readonly pid: number;
  /** Ends it as a crash would. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with its exit code. */
  terminate(): Promise<number | null>;
  /** Resolves with the exit code once it has ended. */
  readonly exit: Promise<number | null>;
}

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;

/** The environment without our own variables: those of the test run are unknown to `serve`, which refuses them. */
export function outsideEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("FIRSTLIGHT_")),
  );
}

/** Starts `serve` as a process. Resolves when it listens, or rejects with its standard error. */
export async function startProcess(
  options: StartOptions & {
    readonly statePath: string;
    readonly slot: string;
    readonly script?: string;
  },
): Promise<Process> {
  const env = {
    ...outsideEnvironment(),
    FIRSTLIGHT_DATABASE_URL: options.url,
    FIRSTLIGHT_SLOT: options.slot,
    FIRSTLIGHT_STATE: options.statePath,
    FIRSTLIGHT_LISTEN: "127.0.0.1:0",
    FIRSTLIGHT_READ_EVERY: READ_EVERY,
    ...ALL_FAMILIES,
    ...options.env,
  };
  const child = spawn(process.execPath, [...NODE_FLAGS, options.script ?? MAIN, "serve"], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const lines: string[] = [];
  const exit = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  const port = await listeningPort(child, lines);
  const client = clientOf(options.url, port);
  return {
    ...client,
    statePath: options.statePath,
    log: lines,
    pid: child.pid ?? 0,
    exit,
    async kill() {
      child.kill("SIGKILL");
      await exit;
    },
    async terminate() {
      child.kill("SIGTERM");
      return exit;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}

async function listeningPort(child: ChildProcess, lines: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    let rest = "";
    child.stderr?.setEncoding("utf8");
    child.stderr?.on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      lines.push(...parts);
      const listening = parts.find((line) => line.includes('"listening"'));
      if (listening) resolve((JSON.parse(listening) as { port: number }).port);
    });
    child.once("exit", (code) => reject(new Error(`exit ${code}: ${[...lines, rest].join("\n")}`)));
  });
}

function clientOf(
  url: string,
  port: number,
): Pick<Firstlight, "port" | "scrape" | "get" | "caughtUp"> {
  const get = async (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);
  const scrape = async (): Promise<Scrape> => parseScrape(await (await get("/metrics")).text());
  return {
    port,
    get,
    scrape,
    async caughtUp(deadlineMs = 30_000) {
      const target = await serverLsn(url);
      const deadline = Date.now() + deadlineMs;
      for (;;) {
        // The status is small; a page of many series, asked for many times a second, would be most of what a test does.
        const { applied } = (await (await get("/api/status")).json()) as { applied: string | null };
        if (applied !== null && parseLsn(applied) >= target) {
          const page = await scrape();
          if (page.hasTotals) return page;
        }
        if (Date.now() > deadline) {
          throw new Error(
            `not caught up: ${applied} of ${formatLsn(target)}\n${(await scrape()).text.slice(0, 2000)}`,
          );
        }
        await sleep(20);
      }
    },
  };
}
