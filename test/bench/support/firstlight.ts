// Firstlight under measurement: `serve` as a process, asked no more than necessary.

import { setTimeout as sleep } from "node:timers/promises";
import { type Lsn, ZERO_LSN, parseLsn } from "../../../src/lsn.ts";
import { type Process, startProcess } from "../../support/firstlight.ts";

const DEADLINE_MS = 120_000;

export interface Firstlight extends AsyncDisposable {
  readonly process: Process;
  /** Everything up to here is counted, durable and visible. */
  applied(): Promise<Lsn>;
  /** Asks so often until that position is visible. */
  reaches(position: Lsn, pollMs: number): Promise<void>;
}

export interface FirstlightOptions {
  readonly url: string;
  readonly slot: string;
  readonly statePath: string;
  /** `--read-every`; null: as by default. */
  readonly readEvery: string | null;
  /** Ends waiting for it, not the process. */
  readonly signal?: AbortSignal;
}

/** Resolves when it listens, which is before it follows. */
export async function startFirstlight(options: FirstlightOptions): Promise<Firstlight> {
  const { readEvery, signal, ...start } = options;
  const process = await startProcess({
    ...start,
    // Empty: as by default.
    env: { FIRSTLIGHT_READ_EVERY: readEvery ?? "", FIRSTLIGHT_FAMILIES: "" },
  });
  const applied = async (): Promise<Lsn> => {
    const status = (await (await process.get("/api/status")).json()) as { applied: string | null };
    return status.applied === null ? ZERO_LSN : parseLsn(status.applied);
  };
  return {
    process,
    applied,
    async reaches(position, pollMs) {
      const deadline = performance.now() + DEADLINE_MS;
      while ((await applied()) < position) {
        if (performance.now() > deadline)
          throw new Error(`Firstlight did not get there:\n${process.log.slice(-20).join("\n")}`);
        await sleep(pollMs, undefined, signal ? { signal } : {});
      }
    },
    async [Symbol.asyncDispose]() {
      await process.terminate();
    },
  };
}

/** When a line of its log was written, in milliseconds of the wall clock; null when it was not. */
export function loggedAt({ process }: Firstlight, message: string): number | null {
  const line = process.log.find((text) => text.includes(`"message":"${message}"`));
  if (line === undefined) return null;
  return Date.parse((JSON.parse(line) as { time: string }).time);
}
