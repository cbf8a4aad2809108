// `backfill` as a process.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { peakMebibytes } from "../../scale/observe.ts";
import { outsideEnvironment } from "../../support/firstlight.ts";
import { NODE_FLAGS } from "../../support/node-flags.ts";

const MAIN = new URL("../../../src/main.ts", import.meta.url).pathname;
const LOOK_EVERY_MS = 50;

export interface Ended {
  readonly code: number | NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
  readonly seconds: number;
  /** The most memory that it had, as far as it was seen. */
  readonly peakMebibytes: number;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Starts it with these arguments. */
export function startBackfill(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Running {
  const began = performance.now();
  const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, "backfill", ...args], {
    env: { ...outsideEnvironment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err, peak] = ["", "", 0];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const look = setInterval(() => {
    try {
      peak = Math.max(peak, peakMebibytes(child.pid ?? 0) || 0);
    } catch {
      // It has just ended.
    }
  }, LOOK_EVERY_MS);
  return {
    child,
    ended: new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        clearInterval(look);
        const seconds = (performance.now() - began) / 1000;
        resolve({ code: code ?? signal, out, err, seconds, peakMebibytes: peak });
      });
    }),
  };
}

/** Runs it to its end. */
export const runBackfill = async (...how: Parameters<typeof startBackfill>): Promise<Ended> =>
  startBackfill(...how).ended;

export interface Manifest {
  readonly source: { readonly from: string; readonly system: string; readonly lsn: string };
  readonly since: string;
  readonly until: string;
  readonly step_seconds: number;
  readonly block_hours: number;
  readonly families: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly samples: number;
  readonly bytes: number;
  readonly files: readonly {
    readonly name: string;
    readonly samples: number;
    readonly bytes: number;
    readonly sha256: string;
    readonly first: string;
    readonly last: string;
  }[];
  readonly last_values: Readonly<Record<string, number>>;
}

export async function manifestOf(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")) as Manifest;
}

/** SHA-256 of every file in a folder, by name. */
export async function digests(folder: string): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  for (const name of (await readdir(folder)).sort()) {
    const hash = createHash("sha256");
    await pipeline(createReadStream(join(folder, name)), hash);
    found[name] = hash.digest("hex");
  }
  return found;
}
