// Totals equal the oracle: many seeds of the full mix, with and without history before the start.

import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { openSimulation } from "../src/demo/coder/simulation.ts";
import { must } from "../src/errors.ts";
import { createDatabase } from "./support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "./support/exact.ts";
import { expectShownByName } from "./support/exact-deletions.ts";
import { overdueByName } from "./support/exact-overdue.ts";
import { publish, startInProcess, uniqueSlot, until } from "./support/firstlight.ts";
import type { Scrape } from "./support/scrape.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SEEDS = Number(process.env["FIRSTLIGHT_TEST_SEEDS"] ?? 50);
const WORKFLOWS = 60;
/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;
/**
 * What releases of Coder do otherwise: which builds bring agents, and whether those of earlier builds are soft deleted
 * (SoftDeletePriorWorkspaceAgents is of v2.34; agents on start builds alone are of no release yet, as of August 2026).
 */
const RELEASES = [
  { release: "v2.33", agentsOn: "all", softDelete: false },
  { release: "newest", agentsOn: "start", softDelete: true },
  { release: "v2.34", agentsOn: "all", softDelete: true },
] as const;
/** A grace that is over before anything begins. */
const AT_ONCE_MS = -1e12;

/** Agents of which the ledger waits to tell that their time is up. */
function waitingToBeTold(statePath: string): number {
  using db = new DatabaseSync(statePath, { readOnly: true });
  return Number(db.prepare("select count(*) as n from entity where due is not null").get()?.["n"]);
}

for (let seed = 1; seed <= SEEDS; seed += 1) {
  // Every second seed finds a deployment that has lived before; each release has every third.
  const history = seed % 2 === 0 ? 40 : 0;
  const { release, ...habits } = must(RELEASES[seed % 3], "no release");
  const divergent = seed % 5 === 0;
  // Deletions are of long ago, by the clock of this process: series go at once.
  const retires = seed % 7 === 1;
  test(`seed ${seed}: totals equal a recount (history ${history}, release ${release}, divergent ${divergent}, retires ${retires})`, async () => {
    await using database = await createDatabase();
    const client = await database.client();
    await publish(client);
    // All of the simulation is over by then, whatever the server's clock says.
    await client.query("set firstlight.moment = '2100-01-01'");
    const folder = await mkdtemp(join(tmpdir(), "firstlight-exact-"));
    const statePath = join(folder, "firstlight.db");
    const slot = uniqueSlot();
    const env = retires ? { FIRSTLIGHT_SERIES_RETIRE_AFTER: "1d" } : {};
    let last: Scrape | null = null;
    await using simulation = openSimulation({
      url: database.url,
      seed,
      startAt: START_AT,
      divergent,
      oddNames: seed % 4 === 0,
      ...habits,
    });
    await simulation.seedDeployment();
    if (history > 0) await simulation.run({ workflows: history });
    // Of what was deleted before the first baseline nothing is in the families that name workspaces.
    if (retires && history > 0) {
      await using before = await startInProcess({ url: database.url, statePath, slot });
      await before.caughtUp();
    }
    {
      await using firstlight = await startInProcess({ url: database.url, statePath, slot, env });
      // Elsewhere the baseline meets the traffic. What is rewritten before its snapshot, though, has no first state to see, and what is
      // deleted before it is left out.
      if (divergent || retires) await firstlight.caughtUp();
      await simulation.run({ workflows: WORKFLOWS });
      const scrape = await firstlight.caughtUp();
      if (!divergent) await expectSumsEqualRecount(client, scrape);
      expect(scrape.series.get("firstlight_baselines_total")).toBe(retires && history > 0 ? 0 : 1);
      if (retires) last = scrape;
    }
    if (last) expectShownByName(statePath, last);
    const tally = history > 0 && divergent ? undefined : simulation;
    await expectLedgerEqualsTables(client, statePath, tally);
    {
      // Of those who never connected the time is up by their rows, but these were committed seconds ago.
      await using again = await startInProcess({
        url: database.url,
        slot,
        statePath,
        env,
        timing: { graceMs: AT_ONCE_MS },
      });
      await until("all who are overdue are told", () => waitingToBeTold(statePath) === 0);
      const { shown, counted } = await overdueByName(client, await again.caughtUp());
      expect(Object.keys(counted), "agents of several names are late").not.toEqual([]);
      if (!divergent) expect(shown).toEqual(counted);
    }
    await expectLedgerEqualsTables(client, statePath, tally);
    await rm(folder, { recursive: true, force: true });
  });
}
