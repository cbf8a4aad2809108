// When the alerts fire: over histories that are known (alerts.test.yml, by promtool), and over what two instances really show, scraped
// by a real Prometheus.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ALERTS } from "../support/alerts.ts";
import { createDatabase } from "../support/database.ts";
import { publish, startInProcess, until, uniqueSlot } from "../support/firstlight.ts";
import { missingTool, startPrometheus } from "../support/prometheus.ts";
import { openSimulation } from "../../src/demo/coder/simulation.ts";

const missing = missingTool("prometheus") ?? missingTool("promtool");
const START_AT = 1_787_300_000_000_000;
const title = (text: string): string => (missing ? `SKIPPED, ${missing}: ${text}` : text);

test.skipIf(missing)(
  title("they fire in those histories when they should, and nothing else does beside them"),
  { timeout: 120_000 },
  () => {
    for (const name of ["alerts", "alerts-text"]) {
      const path = fileURLToPath(new URL(`${name}.test.yml`, import.meta.url));
      const run = spawnSync("promtool", ["test", "rules", path], { encoding: "utf8" });
      expect(run.status, run.stdout + run.stderr).toBe(0);
    }
  },
);

test.skipIf(missing)(
  title(
    "nothing fires while two follow; a slot that is dropped is a gap, and one that has gone is down",
  ),
  { timeout: 120_000 },
  async () => {
    await using database = await createDatabase();
    const client = await database.client();
    await publish(client);
    await using simulation = openSimulation({ url: database.url, seed: 8, startAt: START_AT });
    await simulation.seedDeployment();
    await simulation.run({ workflows: 30 });
    const slot = uniqueSlot();
    const first = await startInProcess({ url: database.url, slot });
    await using second = await startInProcess({ url: database.url });
    await first.caughtUp();
    await second.caughtUp();
    // At once and all the time, so that a test can wait for it.
    const rules = readFileSync(ALERTS, "utf8").replaceAll(
      /^ *(for|interval|keep_firing_for): .*\n/gm,
      "",
    );
    await using prometheus = await startPrometheus([first.port, second.port], rules);
    const firing = async (): Promise<string[]> => {
      await prometheus.evaluated();
      const alerts = await prometheus.query('ALERTS{alertstate="firing"}');
      return alerts
        .map(({ labels }) => `${labels["alertname"]} ${labels["instance"]?.split(":")[1]}`)
        .sort();
    };
    await simulation.run({ workflows: 10 });
    await first.caughtUp();
    await prometheus.scraped();
    expect(await firing()).toEqual([]);
    expect(await prometheus.failedRules()).toEqual([]);

    await client.query(
      `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active`,
      [slot],
    );
    await until("the slot is dropped", async () =>
      client.query("select pg_drop_replication_slot($1)", [slot]).then(
        () => true,
        () => false,
      ),
    );
    await until("the gap is found", async () =>
      (await firing()).includes(`FirstlightGap ${first.port}`),
    );
    await first.caughtUp();
    await prometheus.scraped();
    expect(await firing()).toEqual([`FirstlightGap ${first.port}`]);

    await first[Symbol.asyncDispose]();
    await until("it has gone", async () =>
      (await firing()).includes(`FirstlightDown ${first.port}`),
    );
    // Its last samples are stale, and so is what they were about.
    expect(await firing()).toEqual([`FirstlightDown ${first.port}`]);
    expect(await prometheus.failedRules()).toEqual([]);
  },
);
