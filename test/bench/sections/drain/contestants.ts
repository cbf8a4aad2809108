// Who drains the backlog, each in its own process and role. A run is timed from when the server begins to send.

import { setTimeout as sleep } from "node:timers/promises";
import type { Bed, Published } from "../../support/bed.ts";
import { startCompetitor } from "../../support/competitor.ts";
import { cpuBetween, cpuOf, cpusOf, memoryOf } from "../../support/cpu.ts";
import { type Firstlight, loggedAt, startFirstlight } from "../../support/firstlight.ts";
import { orAborted } from "../../support/waiting.ts";
import { formatLsn } from "../../../../src/lsn.ts";
import { type Backlog, FIRSTLIGHT } from "./backlog.ts";

/** All of one run. */
export interface Drained {
  readonly ms: number;
  /** With the start of the process, where that is told apart. */
  readonly withStartMs?: number;
  readonly clientUs: number;
  readonly serverUs: number;
  /** The most memory that the process had at a time, in bytes. */
  readonly peak: number;
}

export interface Contestant {
  readonly name: string;
  drain(run: Run): Promise<Drained>;
}

export interface Run {
  readonly backlog: Backlog;
  readonly signal: AbortSignal;
}

/** Asking costs what is measured. */
const ASK_EVERY_MS = 50;
const LOOK_EVERY_MS = 2;
const FOLLOWS_WITHIN_MS = 30_000;

/** `serve` with a ledger that has its baseline: every commit is durable. */
export function firstlight(bed: Bed, url: string): Contestant {
  return {
    name: "Firstlight, durable",
    async drain({ backlog, signal }) {
      const statePath = await backlog.rewindFirstlight();
      const startedAt = Date.now();
      await using running = await startFirstlight({
        url,
        slot: FIRSTLIGHT,
        statePath,
        readEvery: null,
        signal,
      });
      const { pid } = running.process;
      const followsAt = await follows(running, signal);
      const client = cpuOf(pid);
      await running.reaches(backlog.end, ASK_EVERY_MS);
      const now = Date.now();
      const after = cpusOf(await bed.backends(FIRSTLIGHT));
      return {
        ms: now - followsAt,
        withStartMs: now - startedAt,
        clientUs: (cpuOf(pid) - client) / 1000,
        // With what it asked before it followed.
        serverUs: cpuBetween(new Map(), after) / 1000,
        peak: memoryOf(pid).peak,
      };
    },
  };
}

/** When it said that it follows, by the wall clock; returns soon after. */
async function follows(running: Firstlight, signal: AbortSignal): Promise<number> {
  const deadline = performance.now() + FOLLOWS_WITHIN_MS;
  for (;;) {
    const at = loggedAt(running, "following");
    if (at !== null) return at;
    if (performance.now() > deadline) throw new Error(running.process.log.join("\n"));
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}

export interface ScriptOptions {
  readonly name: string;
  readonly script: "stock" | "raw";
  readonly publication: Published;
  readonly pauseMs?: number;
}

/** A client that forgets what it reads. */
export async function script(bed: Bed, options: ScriptOptions): Promise<Contestant> {
  const { name, script: kind, ...rest } = options;
  const role = `bench_${name.replaceAll(/[^a-z]+/g, "_")}`;
  const url = await bed.addRole(role);
  return {
    name,
    async drain({ backlog, signal }) {
      await backlog.slot(role);
      const { target } = backlog;
      const competitor = await startCompetitor(kind, {
        url,
        slot: role,
        target: formatLsn(target),
        ...rest,
      });
      await using stack = new AsyncDisposableStack();
      stack.defer(async () => bed.dropSlot(role));
      const running = stack.use(competitor);
      const backends = await bed.backends(role);
      const before = cpusOf(backends);
      const { ms, cpuUs } = await orAborted(running.reached, signal);
      return {
        ms,
        clientUs: cpuUs,
        serverUs: cpuBetween(before, cpusOf(backends)) / 1000,
        peak: memoryOf(running.pid).peak,
      };
    },
  };
}
