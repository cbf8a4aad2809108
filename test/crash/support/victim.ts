// A `serve` process that is going to be killed: unlike `startProcess` it can be ended before it listens, or while it is
// deciding whether to start at all.

import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { ALL_FAMILIES, READ_EVERY, outsideEnvironment } from "../../support/firstlight.ts";
import { NODE_FLAGS } from "../../support/node-flags.ts";

const MAIN = new URL("../../../src/main.ts", import.meta.url).pathname;

const SERVE = new URL("../../../src/commands/serve.ts", import.meta.url).href;
const run = promisify(execFile);

export interface Target {
  readonly url: string;
  readonly slot: string;
  readonly statePath: string;
}

export interface Victim extends AsyncDisposable {
  readonly pid: number;
  /** Its port once it listens; null before, and after its end. */
  readonly port: number | null;
  /** Lines of standard error so far. */
  readonly log: readonly string[];
  /** Resolves when it has ended, with its exit code, or with the name of the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Ends it as a crash would. */
  kill(): Promise<void>;
}

/**
 * Environment for victims that boot in a third of the time, so that more of each short life is worth killing. Compiles
 * everything once into this folder: processes that are killed never save what they compiled.
 */
export async function quickBoot(folder: string): Promise<Readonly<Record<string, string>>> {
  const env = { NODE_COMPILE_CACHE: folder };
  await run(process.execPath, ["--eval", `import(${JSON.stringify(SERVE)})`], {
    env: { ...outsideEnvironment(), ...env },
  });
  return env;
}

/** Starts `serve`, or another script in its place, and does not wait for anything. */
export function spawnServe(
  target: Target,
  options: { readonly script?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Victim {
  const child = spawn(process.execPath, [...NODE_FLAGS, options.script ?? MAIN, "serve"], {
    env: {
      ...outsideEnvironment(),
      FIRSTLIGHT_DATABASE_URL: target.url,
      FIRSTLIGHT_SLOT: target.slot,
      FIRSTLIGHT_STATE: target.statePath,
      FIRSTLIGHT_LISTEN: "127.0.0.1:0",
      FIRSTLIGHT_READ_EVERY: READ_EVERY,
      ...ALL_FAMILIES,
      ...options.env,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const log: string[] = [];
  let port: number | null = null;
  let rest = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    log.push(...lines);
    const listening = lines.find((line) => line.includes('"listening"'));
    if (listening !== undefined) port = (JSON.parse(listening) as { port: number }).port;
  });
  // `close`, not `exit`: everything it said has been read by then.
  const ended = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      port = null;
      resolve(code ?? signal ?? 0);
    });
  });
  const kill = async (): Promise<void> => {
    port = null;
    child.kill("SIGKILL");
    await ended;
  };
  return {
    pid: child.pid ?? 0,
    get port() {
      return port;
    },
    log,
    ended,
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
