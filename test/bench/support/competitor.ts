// A competitor's script as a process of its own.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { must } from "../../../src/errors.ts";
import { type Lsn, parseLsn } from "../../../src/lsn.ts";
import type { FollowerOptions, Told } from "../followers/progress.ts";

export type Reached = Extract<Told, { told: "reached" }>;

/** Disposing ends it at once. */
export interface Competitor extends AsyncDisposable {
  readonly pid: number;
  /** The target; rejects if the script ends before. */
  readonly reached: Promise<Reached>;
  /** Where the last transaction ends that it has read. */
  position(): Promise<Lsn>;
  signal(signal: NodeJS.Signals): void;
}

/** Resolves when the script says that the server has begun to send; rejects with its last words. */
export async function startCompetitor(
  script: "stock" | "raw" | "subscribe",
  options: FollowerOptions,
): Promise<Competitor> {
  const file = new URL(`../followers/${script}.ts`, import.meta.url).pathname;
  const child = spawn(process.execPath, [file, JSON.stringify(options)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const began = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<Reached>();
  reached.promise.catch(() => undefined);
  const asked: PromiseWithResolvers<Lsn>[] = [];
  createInterface({ input: must(child.stdout, "no standard output") }).on("line", (line) => {
    const told = JSON.parse(line) as Told;
    if (told.told === "began") began.resolve();
    else if (told.told === "reached") reached.resolve(told);
    else asked.shift()?.resolve(parseLsn(told.lsn));
  });
  const exit = (async () => {
    const error = await lastWords(child);
    began.reject(error);
    reached.reject(error);
    for (const { reject } of asked) reject(error);
  })();
  await began.promise;
  return {
    pid: child.pid ?? 0,
    reached: reached.promise,
    position: async () => {
      const answer = Promise.withResolvers<Lsn>();
      asked.push(answer);
      child.stdin?.write("\n");
      return answer.promise;
    },
    signal: (signal) => void child.kill(signal),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}

/** Resolves when the process has ended. */
async function lastWords(child: ChildProcess): Promise<Error> {
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-2_000);
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  return new Error(`${child.spawnfile} ended with ${String(code)}: ${words}`);
}
