// `verify` as a process.

import { spawn } from "node:child_process";
import { outsideEnvironment } from "../../support/firstlight.ts";
import type { Scene } from "./scene.ts";

const MAIN = new URL("../../../src/main.ts", import.meta.url).pathname;

export interface Ended {
  readonly code: number | NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
}

export type Target = Pick<Scene, "url" | "slot" | "statePath">;

/** Starts it on the scene's store and database. */
export function startVerify(
  target: Target,
  options: {
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Running {
  const child = spawn(process.execPath, [MAIN, "verify", ...(options.args ?? [])], {
    env: {
      ...outsideEnvironment(),
      FIRSTLIGHT_DATABASE_URL: target.url,
      FIRSTLIGHT_SLOT: target.slot,
      FIRSTLIGHT_STATE: target.statePath,
      ...options.env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  return {
    pid: child.pid ?? 0,
    ended: new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve({ code: code ?? signal, out, err }));
    }),
    kill: (signal) => void child.kill(signal),
  };
}

/** Runs it to its end. */
export async function runVerify(...how: Parameters<typeof startVerify>): Promise<Ended> {
  return startVerify(...how).ended;
}
