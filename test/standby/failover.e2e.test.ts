// The primary that is followed dies, and the same store is pointed at another server: one that never had our slot, and one to
// which it was synchronised.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Server } from "../../src/demo/server.ts";
import { startInProcess, until } from "../support/firstlight.ts";
import { regressions, valueOf } from "../support/scrape.ts";
import { type Standby, ask, configure, keepLogging } from "../support/standby.ts";
import {
  type Site,
  expectExact,
  expectLedger,
  expectNoGap,
  gapsOf,
  openSite,
  troubleOf,
} from "./support/site.ts";

test("moved to a promoted standby without our slot: one gap, and nothing is lost or counted twice", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const before = await followed(site, primary);
  await failOver(site, standby);
  const later = await site.goOnAt(standby);
  await later.run({ workflows: 20 });
  {
    await using firstlight = await startInProcess(site.target(standby));
    const page = await expectExact(firstlight, { primary: standby });
    expect(regressions(before, page)).toEqual([]);
    expect(gapsOf(page)).toEqual({ slot_missing: 1 });
    await later.run({ workflows: 10 });
    await expectExact(firstlight, { primary: standby });
  }
  await expectLedger(site, standby);
}, 120_000);

test("moved to a promoted standby with our synchronised slot: it goes on where it was, without a gap", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby({ settings: { sync_replication_slots: "on" } });
  await makeFailoverSlot(site);
  // The standby must have what we have: else we might hold commits that a failover loses.
  await configure(primary, { synchronized_standby_slots: standby.slot });
  const before = await followed(site, primary, async () => synchronised(site, standby));
  {
    // The name may point at the new server before that is promoted: it has our slot, but does not give it away yet.
    await using firstlight = await startInProcess({
      ...site.target(standby),
      timing: { backOffUpToMs: 500 },
    });
    await until("it says why", async () => (await troubleOf(firstlight)).reason === "slot_synced");
    await failOver(site, standby);
    const later = await site.goOnAt(standby);
    await later.run({ workflows: 20 });
    const page = await expectExact(firstlight, { primary: standby });
    expect(regressions(before, page)).toEqual([]);
    expectNoGap(page);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
  }
  await expectLedger(site, standby);
}, 120_000);

test("the primary waits for a standby that is down: nothing is lost, and it is not called our fault", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  await makeFailoverSlot(site);
  await configure(primary, { synchronized_standby_slots: standby.slot });
  const timing = { silenceMs: 2_500 };
  await using firstlight = await startInProcess({ ...site.target(primary), timing });
  const before = await firstlight.caughtUp();
  await standby.stop("fast");
  await site.simulation.run({ workflows: 10 });
  await until("our walsender waits for the standby", async () => {
    const waiting = await ask(
      primary,
      "select from pg_stat_activity where wait_event = 'WaitForStandbyConfirmation'",
    );
    return waiting.length > 0;
  });
  // Not for a condition: time in which nothing may change, and in which a silent server would be given up.
  await sleep(2 * timing.silenceMs);
  const held = await firstlight.scrape();
  expect(valueOf(held, "firstlight_ready")).toBe(1);
  expect(valueOf(held, "firstlight_reconnects_total")).toBe(0);
  expect((await firstlight.get("/readyz")).status).toBe(200);
  expect(regressions(before, held)).toEqual([]);
  await standby.start();
  const page = await expectExact(firstlight, { primary, withinMs: 60_000 });
  expectNoGap(page);
}, 120_000);

/** Follows this server for a while, and then what `work` does beside it; gives the last page. */
async function followed(site: Site, server: Server, work?: () => Promise<void>) {
  await using firstlight = await startInProcess(site.target(server));
  await firstlight.caughtUp();
  await site.simulation.run({ workflows: 20 });
  await work?.();
  return await expectExact(firstlight, { primary: site.primary });
}

/** The primary dies when the standby has everything. */
async function failOver({ primary }: Site, standby: Standby): Promise<void> {
  await standby.waitFor(primary);
  await primary.stop("immediate");
  await standby.promote();
}

/** As an operator makes it who wants it to survive the primary. */
async function makeFailoverSlot(site: Site): Promise<void> {
  const client = await site.client();
  await client.query(
    "select pg_create_logical_replication_slot($1, 'pgoutput', failover => true)",
    [site.target(site.primary).slot],
  );
}

/** Its copy is persistent once our slot is past what the standby has; until then traffic must move it. */
async function synchronised(site: Site, standby: Standby): Promise<void> {
  await using _records = keepLogging(site.primary);
  await until(
    "our slot is synchronised",
    async () => {
      await site.simulation.run({ workflows: 1 });
      const ready = await ask(
        standby,
        "select from pg_replication_slots where synced and not temporary and invalidation_reason is null",
      );
      return ready.length > 0;
    },
    60_000,
  );
}
