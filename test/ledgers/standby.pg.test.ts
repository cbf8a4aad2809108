// A standby tells what its primary tells: its tables, and a slot that was parked on it.

import { afterEach, beforeEach, expect, test } from "vitest";
import { ledgerFromTables } from "../../src/pipeline/ledger-from-tables.ts";
import { LedgerProgress } from "../../src/pipeline/ledger-progress.ts";
import { manyAgents } from "../standby/support/many.ts";
import { openSite, urlOf } from "../standby/support/site.ts";
import { startInProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { valueOf } from "../support/scrape.ts";
import { connect, keepLogging } from "../support/standby.ts";
import { readingOf } from "./support/reading.ts";
import {
  type Files,
  copiesOf,
  factsFromSlot,
  factsFromTables,
  ownTemporaryFolder,
  placeOf,
  refusal,
  told,
} from "./support/scene.ts";

let files: Files;
beforeEach(async () => {
  files = await ownTemporaryFolder();
});
afterEach(async () => {
  await files[Symbol.asyncDispose]();
});

test("from the tables and from a slot, while serve follows another slot there", async () => {
  await using site = await openSite({ seed: 21, history: 20 });
  const { primary, simulation } = site;
  const standby = await site.standby();
  const url = urlOf(standby);
  const parked = uniqueSlot();
  await using client = await connect(url);
  {
    await using _records = keepLogging(primary);
    await client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [parked]);
  }
  await using records = keepLogging(primary);
  await using firstlight = await startInProcess(site.target(standby));
  await until("totals are shown", async () => (await firstlight.scrape()).hasTotals);
  await simulation.run({ workflows: 40 });
  await standby.waitFor(primary);
  await firstlight.caughtUp();
  await records[Symbol.asyncDispose]();

  const before = await placeOf(client, parked);
  const slot = await factsFromSlot(url, parked);
  const tables = await factsFromTables(url);
  expect(slot.size).toBeGreaterThan(200);
  expect(told(slot)).toEqual(told(tables));
  expect(told(tables)).toEqual(told(await factsFromTables(urlOf(primary))));
  expect(new Set([...slot.values()].map(({ end }) => end)).size).toBeGreaterThan(100);
  // The slot of a serve that is at work, too.
  expect(told(await factsFromSlot(url, site.target(standby).slot))).toEqual(told(tables));
  expect(await placeOf(client, parked)).toEqual(before);
  expect(await copiesOf(client, parked)).toBe(0);
  const page = await firstlight.caughtUp();
  expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
  expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
}, 120_000);

test("a reading that replay cancels says what to do, and leaves nothing", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby({ settings: { max_standby_streaming_delay: "100ms" } });
  await using client = await connect(urlOf(primary));
  await manyAgents(client);
  await standby.waitFor(primary);
  const progress = new LedgerProgress();
  const refused = refusal(ledgerFromTables(readingOf(urlOf(standby), { progress })));
  await until("it reads the agents", () => progress.rows.agents > 0);
  await client.query("begin; lock table workspace_agents in access exclusive mode; commit");
  const { reason, hint } = await refused;
  expect(reason).toBe("conflict");
  expect(hint).toContain("max_standby_streaming_delay");
  expect(await files.left()).toEqual([]);
}, 120_000);
