// CPU per heartbeat while a reader keeps up with a load: two looks at the kernel's figures, and how many heartbeats were
// handled between them, by the reader's own word: it is asked outside of the window. Where heartbeats are read in bursts, both
// looks are taken while nothing is being read.

import { setTimeout as sleep } from "node:timers/promises";
import type { Bed } from "../../support/bed.ts";
import { CpuMeter, cpuOf } from "../../support/cpu.ts";
import type { Load } from "../../support/load.ts";
import type { Reader, Subject } from "./subjects.ts";

export interface Figures {
  /** Microseconds per heartbeat: the reader's own server processes, and its own process. */
  readonly serverUs: number;
  readonly clientUs: number;
  /** Heartbeats a second that were handled. */
  readonly perSecond: number;
}

export interface WindowOptions {
  readonly bed: Bed;
  readonly load: Load;
  readonly subject: Subject;
  readonly reader: Reader;
  readonly ms: number;
  readonly signal: AbortSignal;
}

const QUIET_MS = 20;
const LOOK_EVERY_MS = 4;
const QUIET_WITHIN_MS = 3_000;

/** How often it is asked which connections there are: Firstlight changes them when it goes over to a stream. */
const REFRESH_EVERY_MS = 500;

interface Look {
  readonly at: number;
  readonly server: number;
  readonly client: number;
  readonly heartbeats: number;
}

export async function measure(options: WindowOptions): Promise<Figures> {
  const { bed, reader, ms, signal } = options;
  const meter = new CpuMeter();
  const before = await look(options, { meter, pids: await bed.backends(reader.role), last: false });
  const until = before.at + ms;
  while (performance.now() < until) {
    await sleep(Math.min(REFRESH_EVERY_MS, until - performance.now()), undefined, { signal });
    meter.look(await bed.backends(reader.role));
  }
  const after = await look(options, { meter, pids: await bed.backends(reader.role), last: true });
  const heartbeats = after.heartbeats - before.heartbeats;
  return {
    serverUs: (after.server - before.server) / 1000 / heartbeats,
    clientUs: (after.client - before.client) / 1000 / heartbeats,
    perSecond: (heartbeats / (after.at - before.at)) * 1000,
  };
}

interface LookOptions {
  readonly meter: CpuMeter;
  readonly pids: readonly number[];
  readonly last: boolean;
}

/** The first look asks before it looks, the last one looks before it asks. */
async function look(
  { load, reader, subject, signal }: WindowOptions,
  { meter, pids, last }: LookOptions,
): Promise<Look> {
  const lookNow = (): Omit<Look, "heartbeats"> => ({
    at: performance.now(),
    server: meter.look(pids),
    client: cpuOf(reader.pid),
  });
  if (reader.handled === undefined) return { ...lookNow(), heartbeats: load.done() };
  const inBursts = subject.everyMs > 0;
  const deadline = performance.now() + QUIET_WITHIN_MS;
  for (;;) {
    if (inBursts) await quiet(pids, signal);
    const before = lookNow();
    const heartbeats = load.upTo(await reader.handled());
    const after = lookNow();
    if (inBursts && after.server > before.server && after.at < deadline) continue;
    return { ...(last ? before : after), heartbeats };
  }
}

/** Waits until the server has done nothing for a while. A load that leaves no quiet moment is measured as it is. */
async function quiet(pids: readonly number[], signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + QUIET_WITHIN_MS;
  const meter = new CpuMeter();
  let used = meter.look(pids);
  let since = performance.now();
  while (performance.now() - since < QUIET_MS && performance.now() < deadline) {
    await sleep(LOOK_EVERY_MS, undefined, { signal });
    const now = meter.look(pids);
    if (now > used) since = performance.now();
    used = now;
  }
}
