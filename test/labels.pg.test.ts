// Label by label, buckets too: workflows in random order, several at a time, in which nothing is renamed or claimed, so that
// the names of today are the names of then. With names that a careless exposition breaks on.

import { expect, test } from "vitest";
import { Random } from "../src/demo/coder/random.ts";
import { type Simulation, openSimulation } from "../src/demo/coder/simulation.ts";
import { temporaryFolder } from "./crash/support/folder.ts";
import { createDatabase } from "./support/database.ts";
import {
  expectLabelsEqualRecount,
  expectLedgerEqualsTables,
  expectSumsEqualRecount,
} from "./support/exact.ts";
import { publish, startInProcess } from "./support/firstlight.ts";
import { unbalanced } from "./support/scrape.ts";

const SEEDS = 10;
/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;
/** How many workflows are under way at once. */
const AT_ONCE = 6;

/** Each appears twice. None renames, claims, or rewrites what was final. */
const WORKFLOWS = [
  "createRegular",
  "createFails",
  "createFailsWithCode",
  "createFailsThenStarts",
  "acquireFails",
  "cancelPending",
  "cancelRunning",
  "cancelRunningButBuilt",
  "cancelRunningThenReaped",
  "reapPending",
  "reapHung",
  "rolledBackThenCreated",
  "createdAfterSavepoint",
  "secondCompletionRefused",
  "staysPending",
  "staysRunning",
  "stop",
  "start",
  "restart",
  "remove",
  "removeRunning",
  "autostart",
  "autostop",
  "orphanDelete",
  "connectsBeforeCreation",
  "connectsAtOnce",
  "fillPool",
] as const;

for (let seed = 1; seed <= SEEDS; seed += 1) {
  const history = seed % 2 === 0;
  test(`seed ${seed}: every label set and every bucket equals a recount (history ${history})`, async () => {
    await using database = await createDatabase();
    const client = await database.client();
    await publish(client);
    await using folder = await temporaryFolder();
    const statePath = folder.path("firstlight.db");
    const names = { oddNames: true, agentsOn: seed % 3 === 0 ? "all" : "start" } as const;
    await using simulation = openSimulation({
      url: database.url,
      seed,
      startAt: START_AT,
      ...names,
    });
    await simulation.seedDeployment();
    const random = new Random(seed);
    if (history) await playAll(simulation, random.shuffled(WORKFLOWS));
    {
      await using firstlight = await startInProcess({ url: database.url, statePath });
      await playAll(simulation, random.shuffled([...WORKFLOWS, ...WORKFLOWS]));
      const scrape = await firstlight.caughtUp();
      expect(unbalanced(scrape)).toEqual([]);
      await expectSumsEqualRecount(client, scrape);
      await expectLabelsEqualRecount(client, scrape);
      expect(scrape.text).toContain('template_name="odd \\"quoted\\" \\\\t{🦦}"');
    }
    await expectLedgerEqualsTables(client, statePath, simulation);
  });
}

async function playAll(
  simulation: Simulation,
  names: readonly (keyof Simulation["workflows"])[],
): Promise<void> {
  for (let from = 0; from < names.length; from += AT_ONCE) {
    const some = names.slice(from, from + AT_ONCE);
    await Promise.all(some.map(async (name) => simulation.workflows[name]()));
  }
}
