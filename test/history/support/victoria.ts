// A real VictoriaMetrics (Debian's) on a free port, with its data in a temporary folder.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../src/demo/server.ts";
import { until } from "../../support/firstlight.ts";
import type { Sample } from "../../support/prometheus.ts";

export interface Victoria extends AsyncDisposable {
  readonly port: number;
  /** An instant query at this time in seconds. */
  query(metricsql: string, at: number): Promise<Sample[]>;
  /** Rows that came by the import of text. */
  imported(): Promise<number>;
  /** What was imported can be asked for. */
  settled(): Promise<void>;
}

/** Starts it; `retention` as `-retentionPeriod` has it. */
export async function startVictoria(retention: string): Promise<Victoria> {
  const folder = await mkdtemp(join(tmpdir(), "firstlight-victoria-"));
  const port = await freePort();
  const child = spawn(
    "victoria-metrics",
    [
      `-storageDataPath=${folder}/data`,
      `-retentionPeriod=${retention}`,
      `-httpListenAddr=127.0.0.1:${port}`,
      "-loggerLevel=ERROR",
    ],
    { stdio: ["ignore", "ignore", "inherit"], cwd: folder },
  );
  const get = async (path: string): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    if (!answer.ok) throw new Error(`VictoriaMetrics refused ${path}: ${await answer.text()}`);
    return answer.text();
  };
  await until("VictoriaMetrics is ready", () =>
    get("/health").then(
      () => true,
      () => false,
    ),
  );
  return {
    port,
    async query(metricsql, at) {
      const asked = new URLSearchParams({ query: metricsql, time: `${at}`, nocache: "1" });
      const { data } = JSON.parse(await get(`/api/v1/query?${asked}`)) as {
        data: { result: { metric: Record<string, string>; value: [number, string] }[] };
      };
      return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
    },
    async imported() {
      const rows = /^vm_rows_inserted_total\{type="prometheus"\} (\d+)$/m;
      return Number(rows.exec(await get("/metrics"))?.[1]);
    },
    settled: async () => void (await get("/internal/force_flush")),
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
