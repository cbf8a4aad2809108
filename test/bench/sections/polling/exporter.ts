// The same queries through Debian's prometheus-sql-exporter, as a process of its own that runs them once and is scraped once.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { freePort } from "../../../../src/demo/server.ts";
import type { Bed } from "../../support/bed.ts";
import { cpuOf, memoryOf } from "../../support/cpu.ts";
import { openMeter } from "./poller.ts";
import type { Query } from "./queries.ts";

const PROGRAM = "/usr/bin/prometheus-sql-exporter";
const NAME = "bench_sql_exporter";
const DEADLINE_MS = 60_000;

export interface Exported {
  /** What the server used, connecting and parallel workers included, in nanoseconds. */
  readonly serverCpu: number;
  /** What the exporter used for the queries and one scrape, in nanoseconds. */
  readonly clientCpu: number;
  /** The most memory that it had, in bytes. */
  readonly peak: number;
  readonly series: number;
}

/** Null where the package is not installed. */
export async function exportOnce(
  bed: Bed,
  queries: readonly Query[],
  signal: AbortSignal,
): Promise<Exported | null> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "firstlight-exporter-"));
  stack.defer(async () => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "config.yml");
  await writeFile(file, stringify(configOf(bed, queries)));
  const port = await freePort();
  const meter = await openMeter(bed);
  const endedBefore = await meter.ended();
  const child = spawn(PROGRAM, ["-config.file", file, "-web.listen-address", `127.0.0.1:${port}`], {
    env: { LOGLEVEL: "error" },
    stdio: "ignore",
  });
  const exit = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  stack.defer(async () => {
    child.kill("SIGKILL");
    await exit;
  });
  const { pid } = child;
  if (pid === undefined) return null;
  const backend = await answered(bed, queries.length, signal);
  const serverCpu = cpuOf(backend) + (await meter.ended()) - endedBefore;
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`, { signal })).text();
  const series = page.match(/^sql_(?!exporter)/gm)?.length ?? 0;
  if (series === 0) throw new Error(`prometheus-sql-exporter told nothing:\n${page.slice(0, 500)}`);
  return { serverCpu, clientCpu: cpuOf(pid), peak: memoryOf(pid).peak, series };
}

/** Waits until the last of the queries is answered; returns the server process. */
async function answered(bed: Bed, queries: number, signal: AbortSignal): Promise<number> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const { rows } = await bed.admin.query<{ pid: number }>(
      "select pid from pg_stat_activity where application_name = $1 and state = 'idle' and query like $2",
      [NAME, `-- ${queries} %`],
    );
    if (rows[0]) return rows[0].pid;
    if (performance.now() > deadline) throw new Error("prometheus-sql-exporter never got there");
    await sleep(20, undefined, { signal });
  }
}

function configOf(bed: Bed, queries: readonly Query[]): unknown {
  const url = new URL(bed.url);
  url.searchParams.set("sslmode", "disable");
  url.searchParams.set("application_name", NAME);
  return {
    jobs: [
      {
        name: "coder",
        interval: "1h",
        connections: [url.href],
        queries: queries.map(({ name, labels, values, text }, i) => ({
          name: name.replaceAll("-", "_"),
          help: name,
          labels,
          values,
          query: `-- ${i + 1} of ${queries.length}\n${text}`,
        })),
      },
    ],
  };
}
