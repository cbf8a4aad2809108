// Several servers behind one name are not a failover: a slot lives on the server that made it.

import { expect, test } from "vitest";
import type { Server } from "../../src/demo/server.ts";
import { startInProcess, until } from "../support/firstlight.ts";
import { regressions } from "../support/scrape.ts";
import { ask, connect, keepLogging } from "../support/standby.ts";
import { balance } from "./support/balancer.ts";
import {
  expectExact,
  expectLedger,
  firstTotals,
  gapsOf,
  openSite,
  troubleOf,
  urlOf,
} from "./support/site.ts";

test("a sibling behind the same name has no slot of ours: refused, until an operator makes one there", async () => {
  await using site = await openSite();
  const { primary } = site;
  const [first, second] = [await site.standby(), await site.standby()];
  const { slot } = site.target(first);
  let before;
  {
    await using firstlight = await startInProcess(site.target(first));
    await firstTotals(primary, firstlight);
    before = await expectExact(firstlight, { primary, standby: first });
  }
  await site.simulation.run({ workflows: 10 });
  await second.waitFor(primary);
  {
    await using refused = await startInProcess(site.target(second));
    await until("it says why", async () => (await troubleOf(refused)).reason === "other_server");
    expect((await troubleOf(refused)).message).toContain("load balancer");
    expect((await refused.scrape()).hasTotals).toBe(false);
    expect(await slotsOf(second)).toBe(0);
  }
  {
    await using _records = keepLogging(primary);
    await using operator = await connect(urlOf(second));
    await operator.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  }
  {
    await using firstlight = await startInProcess(site.target(second));
    await firstTotals(primary, firstlight);
    const page = await expectExact(firstlight, { primary, standby: second });
    expect(regressions(before, page)).toEqual([]);
    expect(gapsOf(page)).toEqual({ slot_ahead: 1 });
  }
  await expectLedger(site, primary);
}, 120_000);

test("connections of one attempt that reach two servers are refused, and neither server gets a slot", async () => {
  await using site = await openSite();
  const { primary } = site;
  const [first, second] = [await site.standby(), await site.standby()];
  await using balancer = await balance([first, second]);
  await using _records = keepLogging(primary);
  const spread = new URL(urlOf(first));
  spread.port = String(balancer.port);
  await using refused = await startInProcess({
    ...site.target(first),
    url: spread.href,
    timing: { backOffUpToMs: 100 },
  });
  await until("it says why", async () => (await troubleOf(refused)).reason === "load_balanced");
  expect((await refused.scrape()).hasTotals).toBe(false);
  await refused[Symbol.asyncDispose]();
  for (const server of [first, second])
    await until("no slot is left", async () => (await slotsOf(server)) === 0);
}, 120_000);

async function slotsOf(server: Server): Promise<number> {
  return (await ask(server, "select from pg_replication_slots")).length;
}
