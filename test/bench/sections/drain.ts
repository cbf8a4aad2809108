// Draining a backlog end to end, against those who only read it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bed, openBed } from "../support/bed.ts";
import type { BenchOptions, Section } from "../support/section.ts";
import { type Backlog, FIRSTLIGHT, writeBacklog } from "./drain/backlog.ts";
import { type Contestant, type Drained, firstlight, script } from "./drain/contestants.ts";
import { recvlogical } from "./drain/recvlogical.ts";
import { type Roles, drainReport } from "./drain/results.ts";
import { subscribers } from "./drain/subscribers.ts";

const NOT_INSTALLED =
  "pg_recvlogical was not measured: it is not installed (Debian: `apt-get install postgresql-client`).";

const SUBSCRIBED_BEFORE =
  "`subscribe` of `postgres` makes a temporary slot of its own: it was subscribed before the backlog was written and held still (SIGSTOP) until its turn, so the first few MiB already lay in the sockets. It acknowledges only when asked.";

export const drain: Section = {
  name: "drain",
  async run(options) {
    const { smoke, sizes, signal, pairs, log } = options;
    const heartbeats = sizes["backlog"]?.[0] ?? (smoke ? 10_000 : 100_000);
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "firstlight-bench-"));
    stack.defer(async () => rm(folder, { recursive: true, force: true }));
    const bed = stack.use(await openBed(smoke ? 300 : 2_000));
    const subscribed = stack.use(subscribers(bed));
    const extraRuns = smoke ? 0 : Math.min(pairs, 2);
    const backlog = await writeBacklog({
      bed,
      folder,
      heartbeats,
      signal,
      beforehand: async () => subscribed.prepare(extraRuns),
    });
    log(`drain: ${heartbeats} heartbeats are written`);
    const { roles, extras, notes } = await contestants(bed, smoke);
    for (const note of notes) log(`drain: ${note}`);
    const runs = await rounds(options, {
      backlog,
      each: [roles.ours, ...roles.fastest, roles.stock],
      some: smoke ? [] : [...extras, subscribed],
      someRounds: extraRuns,
    });
    return drainReport({ backlog, runs, roles, smoke, notes });
  },
};

interface Contest {
  readonly roles: Roles;
  /** Measured fewer times: nothing is promised against them. */
  readonly extras: readonly Contestant[];
  readonly notes: readonly string[];
}

async function contestants(bed: Bed, smoke: boolean): Promise<Contest> {
  const url = new URL(bed.url);
  url.username = FIRSTLIGHT;
  const lists = { publication: "firstlight" } as const;
  const tool = await recvlogical(bed);
  const paused = { ...lists, name: "raw frames, paused 1 ms", script: "raw", pauseMs: 1 } as const;
  const roles: Roles = {
    ours: firstlight(bed, url.href),
    stock: await script(bed, { ...lists, name: "stock plugin", script: "stock" }),
    fastest: [
      ...(tool === null ? [] : [tool]),
      ...(smoke ? [] : [await script(bed, { ...lists, name: "raw frames", script: "raw" })]),
      await script(bed, paused),
    ],
  };
  const whole = { publication: "whole" } as const;
  const extras = smoke
    ? []
    : [
        await script(bed, { ...whole, name: "stock plugin, whole tables", script: "stock" }),
        await script(bed, { ...whole, name: "raw frames, whole tables", script: "raw" }),
      ];
  const notes = [...(smoke ? [] : [SUBSCRIBED_BEFORE]), ...(tool === null ? [NOT_INSTALLED] : [])];
  return { roles, extras, notes };
}

interface Rounds {
  readonly backlog: Backlog;
  readonly each: readonly Contestant[];
  readonly some: readonly Contestant[];
  readonly someRounds: number;
}

/** In turns; each round begins with another one. */
async function rounds(
  { pairs, log, signal }: BenchOptions,
  { backlog, each, some, someRounds }: Rounds,
): Promise<Map<Contestant, Drained[]>> {
  const runs = new Map<Contestant, Drained[]>([...each, ...some].map((one) => [one, []]));
  for (let round = 0; round < pairs; round += 1) {
    const now = round < someRounds ? [...each, ...some] : each;
    for (const contestant of [
      ...now.slice(round % now.length),
      ...now.slice(0, round % now.length),
    ]) {
      signal.throwIfAborted();
      const drained = await contestant.drain({ backlog, signal });
      runs.get(contestant)?.push(drained);
      const { ms, clientUs, serverUs } = drained;
      const per = (us: number): string => (us / backlog.heartbeats).toFixed(1);
      const rate = Math.round((backlog.heartbeats / ms) * 1000);
      log(
        `drain ${contestant.name}: ${rate}/s, client ${per(clientUs)} µs, server ${per(serverUs)} µs`,
      );
    }
  }
  return runs;
}
