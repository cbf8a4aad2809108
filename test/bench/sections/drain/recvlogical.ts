// `pg_recvlogical` of Postgres: C, single-threaded, and writes what it reads to a file; here to nowhere.

import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { formatLsn } from "../../../../src/lsn.ts";
import type { Bed } from "../../support/bed.ts";
import { cpuBetween, cpuOf, cpusOf, memoryOf } from "../../support/cpu.ts";
import type { Contestant, Drained, Run } from "./contestants.ts";

const ROLE = "bench_recvlogical";
/** The process and its server process end by themselves: what they used in the last interval is not seen. */
const LOOK_EVERY_MS = 3;

/** Null when it is not installed (Debian: `apt-get install postgresql-client`). */
export async function recvlogical(bed: Bed): Promise<Contestant | null> {
  const binary = globSync("/usr/lib/postgresql/*/bin/pg_recvlogical").sort().at(-1);
  if (binary === undefined) return null;
  const url = await bed.addRole(ROLE);
  return {
    name: "pg_recvlogical",
    async drain(run) {
      await run.backlog.slot(ROLE);
      await using stack = new AsyncDisposableStack();
      stack.defer(async () => bed.dropSlot(ROLE));
      return await watched(bed, { ...run, binary, url });
    },
  };
}

async function watched(
  bed: Bed,
  { binary, url, backlog, signal }: Run & { readonly binary: string; readonly url: string },
): Promise<Drained> {
  const options =
    `--dbname ${url} --slot ${ROLE} --start --no-loop --file /dev/null --endpos ${formatLsn(backlog.target)}` +
    " --option proto_version=1 --option publication_names=firstlight";
  const child = spawn(binary, options.split(" "), { stdio: ["ignore", "ignore", "inherit"] });
  using _child = { [Symbol.dispose]: () => void child.kill("SIGKILL") };
  const pid = child.pid ?? 0;
  const running = { began: performance.now(), ended: 0 };
  child.once("exit", () => (running.ended = performance.now()));
  let server: ReturnType<typeof cpusOf> = new Map();
  let [clientNs, serverNs, peak] = [0, 0, 0];
  while (running.ended === 0) {
    if (server.size === 0) {
      server = cpusOf(await bed.backends(ROLE));
      running.began = performance.now();
    }
    // Zero once they are gone.
    clientNs = Math.max(clientNs, cpuOf(pid));
    serverNs = Math.max(serverNs, cpuBetween(server, cpusOf([...server.keys()])));
    peak = Math.max(peak, memoryOf(pid).peak);
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
  if (child.exitCode !== 0) throw new Error(`pg_recvlogical ended with ${String(child.exitCode)}`);
  return {
    ms: running.ended - running.began,
    clientUs: clientNs / 1000,
    serverUs: serverNs / 1000,
    peak,
  };
}
