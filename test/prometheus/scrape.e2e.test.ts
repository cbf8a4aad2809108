// What users do with it: promtool checks the page, a real Prometheus scrapes it and answers their queries.

import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { must } from "../../src/errors.ts";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { createDatabase } from "../support/database.ts";
import { publish, startInProcess } from "../support/firstlight.ts";
import { missingTool, startPrometheus } from "../support/prometheus.ts";
import { byLabels } from "../support/scrape.ts";

const missing = missingTool("prometheus") ?? missingTool("promtool");
const title = (text: string): string => (missing ? `SKIPPED, ${missing}: ${text}` : text);
const START_AT = 1_787_300_000_000_000;

test.skipIf(missing)(
  title("promtool check metrics accepts /metrics and /metrics/process"),
  async () => {
    await using database = await createDatabase();
    await publish(await database.client());
    await using simulation = openSimulation({
      url: database.url,
      seed: 7,
      startAt: START_AT,
      oddNames: true,
    });
    await simulation.seedDeployment();
    await using firstlight = await startInProcess({ url: database.url });
    await simulation.run({ workflows: 60 });
    await firstlight.caughtUp();
    for (const path of ["/metrics", "/metrics/process"]) {
      const answer = await firstlight.get(path);
      expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
      const page = await answer.text();
      expect(page.length).toBeGreaterThan(1_000);
      // Exits with 3 on a lint finding.
      expect(
        execFileSync("promtool", ["check", "metrics"], { input: page, encoding: "utf8" }),
      ).toBe("");
    }
  },
);

test.skipIf(missing)(
  title(
    "a real Prometheus answers the P95 and the success ratio, and increase() over births equals the events",
  ),
  async () => {
    await using database = await createDatabase();
    await publish(await database.client());
    await using simulation = openSimulation({ url: database.url, seed: 3, startAt: START_AT });
    await simulation.seedDeployment();
    await using firstlight = await startInProcess({ url: database.url });
    await firstlight.caughtUp();
    await using prometheus = await startPrometheus(firstlight.port);
    // The births of what the seed offers are scraped at 0 before anything is counted.
    await prometheus.scraped();

    // Paced by scrapes, as minutes pace a real deployment: a build, its end, its agents, their connections.
    const builds = [];
    for (let i = 0; i < 6; i += 1) builds.push(await simulation.steps.firstBuild());
    await firstlight.caughtUp();
    await prometheus.scraped();
    for (const [i, build] of builds.entries()) {
      await simulation.steps.acquire(build);
      await simulation.steps.wait(20 * SECOND);
      if (i === 0) await simulation.steps.fail(build);
      else await simulation.steps.complete(build);
    }
    await firstlight.caughtUp();
    await prometheus.scraped();
    const connected: number[] = [];
    for (const build of builds.slice(1)) {
      for (const agent of build.agents) {
        await simulation.steps.wait(5 * SECOND);
        await simulation.steps.connect(agent);
      }
    }
    for (const { took } of simulation.expected().connected) connected.push(took);
    const scrape = await firstlight.caughtUp();
    await prometheus.scraped();

    const increased = async (metric: string): Promise<Map<string, number>> => {
      const samples = await prometheus.query(`increase(${metric}[5m])`);
      return new Map(samples.map(({ labels, value }) => [sorted(labels), Math.round(value)]));
    };
    for (const metric of [
      "coderd_workspace_creation_attempts_total",
      "coderd_workspace_creation_outcomes_total",
      "coderd_workspace_creation_failures_total",
      "coderd_agents_first_connection_seconds_count",
    ]) {
      const shown = byLabels(scrape, metric);
      const total = [...shown.values()].reduce((sum, value) => sum + value, 0);
      const increase = await increased(metric);
      expect(total, metric).toBeGreaterThan(0);
      expect(
        [...increase.values()].reduce((sum, value) => sum + value, 0),
        metric,
      ).toBe(total);
      expect(increase.size, metric).toBe(shown.size);
    }

    const [ratio] = await prometheus.query(
      'sum(increase(coderd_workspace_creation_outcomes_total{status="success"}[5m])) / sum(increase(coderd_workspace_creation_outcomes_total[5m]))',
    );
    expect(must(ratio, "no success ratio").value).toBeCloseTo(5 / 6, 5);
    const [p95] = await prometheus.query(
      "histogram_quantile(0.95, sum by (le) (rate(coderd_agents_first_connection_seconds_bucket[5m])))",
    );
    const slowest = Math.max(...connected) / SECOND;
    const bound = must(
      [1, 10, 30, 60, 120, 300, 600, 1800, 3600].find((le) => le >= slowest),
      "no bucket",
    );
    expect(must(p95, "no P95").value).toBeGreaterThan(0);
    expect(must(p95, "no P95").value).toBeLessThanOrEqual(bound);
    // Nothing that is shown may ever be taken for a reset.
    for (const metric of [
      "workspace_creation_attempts_total",
      "agents_first_connection_seconds_bucket",
    ]) {
      expect(await prometheus.query(`resets(coderd_${metric}[5m]) > 0`)).toEqual([]);
    }
  },
);

function sorted(labels: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(labels).sort());
}
