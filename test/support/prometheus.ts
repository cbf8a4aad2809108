// A real Prometheus (Debian's) scraping a port of ours. Suites that need it skip loudly where it is not installed.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { freePort } from "../../src/demo/server.ts";
import { until } from "./firstlight.ts";

/** Why this suite can not run here; undefined when it can. In CI it must. */
export function missingTool(name: keyof typeof PACKAGES): string | undefined {
  try {
    execFileSync("which", [name], { stdio: "ignore" });
    return undefined;
  } catch {
    return `${name} is not installed (apt-get install ${PACKAGES[name]})`;
  }
}

const PACKAGES = {
  prometheus: "prometheus",
  promtool: "prometheus",
  "victoria-metrics": "victoria-metrics",
  openssl: "openssl",
  curl: "curl",
  pg_dump: "postgresql-client",
} as const;

const RULES = z.object({
  data: z.object({
    groups: z.array(
      z.object({
        lastEvaluation: z.string(),
        rules: z.array(
          z.object({ name: z.string(), health: z.string(), lastError: z.string().optional() }),
        ),
      }),
    ),
  }),
});

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus extends AsyncDisposable {
  /** Its data folder. */
  readonly data: string;
  /** An instant query, evaluated now, or at this time in seconds. */
  query(promql: string, at?: number): Promise<Sample[]>;
  /** Waits until a whole scrape that began after this call was stored. */
  scraped(): Promise<void>;
  /** Waits until all rules were evaluated in a pass that began after this call. */
  evaluated(): Promise<void>;
  /** Rules whose last evaluation failed, each with its error. */
  failedRules(): Promise<string[]>;
}

export interface PrometheusOptions {
  /** A folder of blocks, which are moved to its data before it starts. */
  readonly blocks?: string;
  /** As `--storage.tsdb.retention.time` has it. */
  readonly retention?: string;
  /** More of the scrape config, as YAML in flow style: `scheme: https, …`. Targets are then `localhost`. */
  readonly scrape?: string;
}

/**
 * Starts Prometheus on a free port with its data in a temporary folder, scraping these ports of this machine once a second, and
 * evaluating rules as often.
 */
export async function startPrometheus(
  ports: number | readonly number[],
  rules = "groups: []",
  { blocks, retention = "15d", scrape }: PrometheusOptions = {},
): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), "firstlight-prometheus-"));
  const own = await freePort();
  const config = join(folder, "prometheus.yml");
  const targets = [ports]
    .flat()
    .map((port) => `${scrape === undefined ? "127.0.0.1" : "localhost"}:${port}`);
  await writeFile(join(folder, "rules.yml"), rules);
  await writeFile(
    config,
    `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [rules.yml]
scrape_configs:
  - { job_name: firstlight, ${scrape === undefined ? "" : `${scrape}, `}static_configs: [{ targets: ${JSON.stringify(targets)} }] }
`,
  );
  if (blocks !== undefined) await rename(blocks, join(folder, "data"));
  const child = spawn(
    "prometheus",
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${folder}/data`,
      `--storage.tsdb.retention.time=${retention}`,
      `--web.listen-address=127.0.0.1:${own}`,
    ],
    { stdio: "ignore", cwd: folder },
  );
  const query = async (promql: string, at?: number): Promise<Sample[]> => {
    const asked = new URLSearchParams({
      query: promql,
      ...(at === undefined ? {} : { time: `${at}` }),
    });
    const answer = await fetch(`http://127.0.0.1:${own}/api/v1/query?${asked}`);
    if (!answer.ok) throw new Error(`Prometheus refused ${promql}: ${await answer.text()}`);
    const { data } = (await answer.json()) as {
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
  };
  /** When all targets had been scraped; 0 before. */
  const lastScrape = async (): Promise<number> => {
    const last = await query('timestamp(up{job="firstlight"}) and up{job="firstlight"} == 1').catch(
      () => [],
    );
    return last.length < targets.length ? 0 : Math.min(...last.map(({ value }) => value));
  };
  const groups = async () => {
    const answer = await fetch(`http://127.0.0.1:${own}/api/v1/rules`);
    return RULES.parse(await answer.json()).data.groups;
  };
  await until("Prometheus is ready", async () =>
    fetch(`http://127.0.0.1:${own}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  await until("Prometheus has scraped", async () => (await lastScrape()) > 0);
  return {
    data: join(folder, "data"),
    query,
    async scraped() {
      const since = Date.now() / 1000;
      await until("another scrape", async () => (await lastScrape()) > since);
    },
    async evaluated() {
      const since = Date.now();
      await until("another evaluation", async () =>
        (await groups()).every((group) => Date.parse(group.lastEvaluation) > since),
      );
    },
    async failedRules() {
      const evaluated = (await groups()).flatMap((group) => group.rules);
      return evaluated
        .filter(({ health }) => health !== "ok")
        .map(({ name, lastError }) => `${name}: ${lastError}`);
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
