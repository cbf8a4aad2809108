// A real Prometheus (Debian's) scraping a port of ours. Suites that need it skip loudly where it is not installed.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../src/demo/server.ts";
import { until } from "./firstlight.ts";

/** Why this suite can not run here; undefined when it can. In CI it must. */
export function missingTool(name: "prometheus" | "promtool"): string | undefined {
  try {
    execFileSync("which", [name], { stdio: "ignore" });
    return undefined;
  } catch {
    return `${name} is not installed (apt-get install prometheus)`;
  }
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus extends AsyncDisposable {
  /** An instant query, evaluated now. */
  query(promql: string): Promise<Sample[]>;
  /** Waits until a whole scrape that began after this call was stored. */
  scraped(): Promise<void>;
}

/** Starts Prometheus on a free port with its data in a temporary folder, scraping `127.0.0.1:port` once a second. */
export async function startPrometheus(port: number): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), "firstlight-prometheus-"));
  const own = await freePort();
  const config = join(folder, "prometheus.yml");
  await writeFile(
    config,
    `scrape_configs:\n  - job_name: firstlight\n    scrape_interval: 1s\n    static_configs: [{ targets: ["127.0.0.1:${port}"] }]\n`,
  );
  const child = spawn(
    "prometheus",
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=127.0.0.1:${own}`,
    ],
    { stdio: "ignore", cwd: folder },
  );
  const query = async (promql: string): Promise<Sample[]> => {
    const answer = await fetch(
      `http://127.0.0.1:${own}/api/v1/query?query=${encodeURIComponent(promql)}`,
    );
    if (!answer.ok) throw new Error(`Prometheus refused ${promql}: ${await answer.text()}`);
    const { data } = (await answer.json()) as {
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
  };
  const lastScrape = async (): Promise<number> =>
    (
      await query('timestamp(up{job="firstlight"}) and up{job="firstlight"} == 1').catch(() => [])
    )[0]?.value ?? 0;
  await until("Prometheus has scraped", async () => (await lastScrape()) > 0);
  return {
    query,
    async scraped() {
      const since = Date.now() / 1000;
      await until("another scrape", async () => (await lastScrape()) > since);
    },
    async [Symbol.asyncDispose]() {
      await end(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}
