// Totals equal the oracle: many seeds of the full mix, with and without history before the start.

import { expect, test } from "vitest";
import { openSimulation } from "../src/demo/coder/simulation.ts";
import { createDatabase } from "./support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "./support/exact.ts";
import { publish, startInProcess } from "./support/firstlight.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SEEDS = Number(process.env["FIRSTLIGHT_TEST_SEEDS"] ?? 50);
const WORKFLOWS = 60;
/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

for (let seed = 1; seed <= SEEDS; seed += 1) {
  // Every second seed finds a deployment that has lived before; every third has Coder's older habits.
  const history = seed % 2 === 0 ? 40 : 0;
  const older = seed % 3 === 0;
  const divergent = seed % 5 === 0;
  test(`seed ${seed}: totals equal a recount (history ${history}, older release ${older}, divergent ${divergent})`, async () => {
    await using database = await createDatabase();
    const client = await database.client();
    await publish(client);
    const folder = await mkdtemp(join(tmpdir(), "firstlight-exact-"));
    const statePath = join(folder, "firstlight.db");
    await using simulation = openSimulation({
      url: database.url,
      seed,
      startAt: START_AT,
      divergent,
      oddNames: seed % 4 === 0,
      ...(older ? { agentsOn: "all" as const, softDelete: false } : {}),
    });
    await simulation.seedDeployment();
    if (history > 0) await simulation.run({ workflows: history });
    {
      await using firstlight = await startInProcess({ url: database.url, statePath });
      // Elsewhere the baseline meets the traffic. What is rewritten before its snapshot, though, has no first state to see.
      if (divergent) await firstlight.caughtUp();
      await simulation.run({ workflows: WORKFLOWS });
      const scrape = await firstlight.caughtUp();
      if (!divergent) await expectSumsEqualRecount(client, scrape);
      expect(scrape.series.get("firstlight_baselines_total")).toBe(1);
    }
    await expectLedgerEqualsTables(
      client,
      statePath,
      history > 0 && divergent ? undefined : simulation,
    );
    await rm(folder, { recursive: true, force: true });
  });
}
