// Firstlight on the same deployment, as it comes, under the heartbeats of all its agents.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lsn } from "../../../../src/lsn.ts";
import type { Bed } from "../../support/bed.ts";
import { type Cpus, cpuBetween, cpuOf, cpusOf } from "../../support/cpu.ts";
import { type Firstlight, startFirstlight } from "../../support/firstlight.ts";
import { startLoad } from "../../support/load.ts";

const LOOK_EVERY_MS = 100;
const BURST_WITHIN_MS = 60_000;
const ROLE = "bench_polling";

export interface Follower extends AsyncDisposable {
  readonly bed: Bed;
  readonly firstlight: Firstlight;
}

/** Resolves when it has its totals and has caught up. */
export async function openFollower(bed: Bed): Promise<Follower> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "firstlight-bench-"));
  stack.defer(async () => rm(folder, { recursive: true, force: true }));
  stack.defer(async () => bed.dropSlot(ROLE));
  const statePath = join(folder, "firstlight.db");
  const url = await bed.addRole(ROLE);
  const firstlight = stack.use(
    await startFirstlight({ url, slot: ROLE, statePath, readEvery: null }),
  );
  await firstlight.reaches(await bed.position(), LOOK_EVERY_MS);
  const owned = stack.move();
  return { bed, firstlight, [Symbol.asyncDispose]: async () => owned.disposeAsync() };
}

export interface Beaten {
  /** Nanoseconds of the database's CPU per heartbeat, with the other commits that come with it. */
  readonly server: number;
  /** Nanoseconds of Firstlight's own. */
  readonly client: number;
  /** Heartbeats per second that were written. */
  readonly rate: number;
}

export interface BeatOptions {
  readonly rate: number;
  /** Before it counts: the server moves the place where decoding begins every 15 s, and each burst starts there. */
  readonly leadInS: number;
  readonly windowS: number;
  readonly signal: AbortSignal;
}

export async function beat(follower: Follower, options: BeatOptions): Promise<Beaten> {
  const { rate, leadInS, windowS, signal } = options;
  await using load = await startLoad(follower.bed, { rate });
  await sleep(leadInS * 1_000, undefined, { signal });
  const from = await afterBurst(follower, signal);
  await sleep(windowS * 1_000, undefined, { signal });
  const to = await afterBurst(follower, signal);
  // Told by notices, which come a moment after what they tell.
  await sleep(LOOK_EVERY_MS, undefined, { signal });
  for (const pid of from.server.keys()) {
    if (!to.server.has(pid)) throw new Error("a session of Firstlight ended while it was measured");
  }
  const heartbeats = load.upTo(to.applied) - load.upTo(from.applied);
  return {
    server: cpuBetween(from.server, to.server) / heartbeats,
    client: (to.client - from.client) / heartbeats,
    rate: (heartbeats / (to.at - from.at)) * 1_000,
  };
}

interface Sample {
  readonly at: number;
  readonly applied: Lsn;
  readonly server: Cpus;
  readonly client: number;
}

/** What was used up to the end of a burst. */
async function afterBurst({ bed, firstlight }: Follower, signal: AbortSignal): Promise<Sample> {
  const before = await firstlight.applied();
  const deadline = performance.now() + BURST_WITHIN_MS;
  for (;;) {
    const applied = await firstlight.applied();
    if (applied > before) {
      const server = cpusOf(await bed.backends(ROLE));
      return { at: performance.now(), applied, server, client: cpuOf(firstlight.process.pid) };
    }
    if (performance.now() > deadline) throw new Error("Firstlight does not get on");
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}
