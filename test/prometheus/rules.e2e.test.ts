// The values of the recording rules: over histories that are known (recording.test.yml, by promtool), and over two instances that
// a real Prometheus scrapes.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { PHASES, type Phase } from "../../src/derive/light.ts";
import { must } from "../../src/errors.ts";
import { createDatabase } from "../support/database.ts";
import { publish, startInProcess, until } from "../support/firstlight.ts";
import { missingTool, startPrometheus } from "../support/prometheus.ts";
import { recordingRules } from "../support/rules.ts";
import { type Scrape, byLabels, sumOf } from "../support/scrape.ts";

const missing = missingTool("prometheus") ?? missingTool("promtool");
const title = (text: string): string => (missing ? `SKIPPED, ${missing}: ${text}` : text);
const START_AT = 1_787_300_000_000_000;

test.skipIf(missing)(
  title("over known histories nothing is absent, doubled, negative or counted too early"),
  { timeout: 120_000 },
  () => {
    for (const name of ["recording", "recording-long", "recording-light"]) {
      const path = fileURLToPath(new URL(`${name}.test.yml`, import.meta.url));
      const run = spawnSync("promtool", ["test", "rules", path], { encoding: "utf8" });
      expect(run.status, run.stdout + run.stderr).toBe(0);
    }
  },
);

test.skipIf(missing)(
  title("a real Prometheus records over two instances what happened once, also when one has gone"),
  { timeout: 120_000 },
  async () => {
    await using database = await createDatabase();
    await publish(await database.client());
    await using simulation = openSimulation({ url: database.url, seed: 5, startAt: START_AT });
    const { steps, workflows } = simulation;
    await simulation.seedDeployment();
    await simulation.run({ workflows: 40 });
    const pooled = await steps.prebuild();
    await steps.acquire(pooled);
    await steps.wait(20 * SECOND);
    await steps.complete(pooled);
    await using first = await startInProcess({ url: database.url });
    await using second = await startInProcess({ url: database.url });
    const before = await first.caughtUp();
    await second.caughtUp();
    // The same rules over a window that a test can wait for.
    const rules = recordingRules([{ length: "30s", lookback: "30s" }]);
    await using prometheus = await startPrometheus([first.port, second.port], rules);
    const value = async (series: string): Promise<number | undefined> => {
      const found = await prometheus.query(series);
      expect(found.length, series).toBeLessThanOrEqual(1);
      return found[0]?.value;
    };
    const becomes = (series: string, wanted: number): Promise<void> =>
      until(
        `${series} is ${wanted}`,
        async () => Math.abs(((await value(series)) ?? Infinity) - wanted) < 1e-9,
        40_000,
      );

    // History is in the totals and in no window: those are absent until Prometheus has known the totals that long.
    const attempts = sumOf(before, "coderd_workspace_creation_attempts_total");
    const inFlight = sumOf(before, "coderd_workspace_creations_in_flight");
    expect(attempts).toBeGreaterThan(0);
    await becomes("job:coderd_workspace_creation_attempts_total:max", attempts);
    await becomes("job:coderd_workspace_creations_in_flight:sum", inFlight);
    expect(await value("job:coderd_workspace_creation_attempts:increase30s")).toBeUndefined();
    await becomes("job:coderd_workspace_creation_attempts:increase30s", 0);
    expect(
      await value("job:coderd_workspace_creation_successes_per_outcomes:ratio_increase30s"),
    ).toBeUndefined();

    // Four builds: one fails, two succeed, one runs. And somebody claims a prebuilt workspace.
    const builds = [];
    for (let i = 0; i < 4; i += 1) builds.push(await steps.firstBuild());
    for (const [i, build] of builds.entries()) {
      await steps.acquire(build);
      await steps.wait(20 * SECOND);
      if (i === 0) await steps.fail(build);
      else if (i < 3) await steps.complete(build);
    }
    for (const agent of builds.flatMap((build) => build.agents)) {
      await steps.wait(5 * SECOND);
      await steps.connect(agent);
    }
    await workflows.claim({ workspace: pooled.workspace.id });
    const after = await first.caughtUp();
    await second.caughtUp();
    await becomes("job:coderd_workspace_creation_attempts:increase30s", 4);
    await becomes("job:coderd_workspace_creation_successes_per_outcomes:ratio_increase30s", 2 / 3);
    await becomes("job:coderd_prebuilt_workspaces_claimed_per_given:ratio_increase30s", 1 / 3);
    await until("there is a percentile", async () => {
      const p95 = await value("job:coderd_agents_first_connection_seconds:p95_increase30s");
      return p95 !== undefined && p95 > 0;
    });
    for (const phase of PHASES) {
      const regular = `{type="regular",phase="${phase}"}`;
      const [took, agents] = (["sum", "count"] as const).map(
        (part) => lightOf(after, part, phase) - lightOf(before, part, phase),
      );
      expect(agents).toBeGreaterThan(0);
      await becomes(
        `job:firstlight_time_to_first_light_seconds:mean_increase30s${regular}`,
        must(took, "sum") / must(agents, "count"),
      );
    }
    expect(
      await value('job:firstlight_time_to_first_light_seconds:p95_increase30s{type="regular"}'),
    ).toBeGreaterThan(0);
    await becomes("job:coderd_workspace_creation_attempts_total:max", attempts + 4);
    await becomes("job:coderd_workspace_creations_in_flight:sum", inFlight + 1);

    // One has gone: nothing changes. The ratios of all time are those of a page.
    await second[Symbol.asyncDispose]();
    await until("one is down", async () => (await prometheus.query("up == 0")).length === 1);
    await prometheus.evaluated();
    await becomes("job:coderd_workspace_creation_attempts_total:max", attempts + 4);
    const claims = sumOf(after, "coderd_prebuilt_workspaces_claimed_total");
    const created = sumOf(after, "coderd_workspace_creation_total");
    expect(claims).toBeGreaterThan(0);
    await becomes(
      "job:coderd_prebuilt_workspaces_claimed_per_given:ratio",
      claims / (claims + created),
    );
    // No rule met two series where it expected one.
    expect(await prometheus.failedRules()).toEqual([]);
  },
);

/** Over all templates, of regular starts. */
function lightOf(scrape: Scrape, part: "sum" | "count", phase: Phase): number {
  return [...byLabels(scrape, `firstlight_time_to_first_light_seconds_${part}`)]
    .filter(([labels]) => labels.endsWith(`,"regular","${phase}"]`))
    .reduce((sum, [, value]) => sum + value, 0);
}
