// One who polls: a connection that asks all the queries, and what the server used for each.

import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { must } from "../../../../src/errors.ts";
import type { Bed } from "../../support/bed.ts";
import { cpuOf } from "../../support/cpu.ts";
import type { Query } from "./queries.ts";

/** The unit of /proc/PID/stat, in nanoseconds: 100 to the second on every Linux. */
const TICK_NS = 10_000_000;
/** A parallel worker that has answered still has to be gone, and its parent to know it. */
const REAPED_MS = 30;

export interface Poller {
  /** Asks each query once. Nanoseconds of CPU by query, parallel workers included. */
  poll(): Promise<readonly number[]>;
}

export async function openPoller(bed: Bed, queries: readonly Query[]): Promise<Poller> {
  const client = await bed.connect();
  const pid = await backendOf(client);
  const meter = await openMeter(bed);
  return {
    async poll() {
      const costs: number[] = [];
      for (const { text } of queries) {
        const before = await meter.used(pid);
        await client.query({ text, rowMode: "array" });
        await sleep(REAPED_MS);
        costs.push((await meter.used(pid)) - before);
      }
      return costs;
    },
  };
}

async function backendOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return must(rows[0], "no backend").pid;
}

export interface Meter {
  /** CPU of this server process and of all that have ended, in nanoseconds; the latter to 10 ms. */
  used(pid: number): Promise<number>;
  /** Of those that have ended alone. */
  ended(): Promise<number>;
}

/** Parallel workers live as long as their query: the kernel adds what they used to the children of their parent. */
export async function openMeter(bed: Bed): Promise<Meter> {
  const { rows } = await bed.admin.query<{ pid: string }>(
    "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1) as pid",
  );
  const postmaster = must(rows[0], "no postmaster.pid").pid;
  const ended = async (): Promise<number> => {
    const stat = await readFile(`/proc/${postmaster}/stat`, "utf8");
    // Fields are counted behind the name, which may hold blanks: cutime and cstime are the 14th and 15th.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[13]) + Number(fields[14])) * TICK_NS;
  };
  return { ended, used: async (pid) => cpuOf(pid) + (await ended()) };
}
