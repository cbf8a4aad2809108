// The standby that is followed becomes the primary, or gets another one. Nobody who scrapes may notice; a later start goes
// on without a gap, unless history was lost.

import { expect, test } from "vitest";
import { startProcess, until } from "../support/firstlight.ts";
import { regressions, sumOf, valueOf } from "../support/scrape.ts";
import { ask, keepLogging } from "../support/standby.ts";
import { startScraper } from "../crash/support/scraper.ts";
import { report } from "../crash/support/report.ts";
import { expectBothHistories, historyOf, lostAttempts } from "./support/histories.ts";
import {
  expectExact,
  expectLedger,
  expectNoGap,
  firstTotals,
  gapsOf,
  openSite,
} from "./support/site.ts";

const ATTEMPTS = "coderd_workspace_creation_attempts_total";
/** It is asked every 10 s. */
const TIMELINE_WITHIN_MS = 30_000;

test("promoted while we stream from it: one connection goes on, and a later start needs no gap", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const target = site.target(standby);
  {
    await using firstlight = await startProcess(target);
    await firstTotals(primary, firstlight);
    await using scraper = startScraper(() => firstlight.port);
    expect(valueOf(await firstlight.scrape(), "firstlight_timeline")).toBe(1);
    const traffic = site.simulation.run({ workflows: 10_000 });
    const cut = expect(traffic).rejects.toThrow();
    await until("it counts", async () => sumOf(await firstlight.scrape(), ATTEMPTS) > 30);
    // As a crash under load: what has not reached the standby by now is lost, for its tables and for us.
    await primary.stop("immediate");
    await cut;
    await standby.promote();
    const later = await site.goOnAt(standby);
    await later.run({ workflows: 20 });
    const page = await expectExact(firstlight, { primary: standby });
    expectNoGap(page);
    expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
    await until(
      "the timeline is shown",
      async () => valueOf(await firstlight.scrape(), "firstlight_timeline") === 2,
      TIMELINE_WITHIN_MS,
    );
    expect(firstlight.log.join("\n")).toContain("the server was promoted");
    // Stored with what comes next.
    await later.run({ workflows: 5 });
    await expectExact(firstlight, { primary: standby });
    expect(scraper.wrong).toEqual([]);
    expect(scraper.withTotals).toBe(scraper.answered);
    await firstlight.kill();
    await later.run({ workflows: 10 });
  }
  {
    await using firstlight = await startProcess(target);
    const page = await expectExact(firstlight, { primary: standby });
    expectNoGap(page);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedger(site, standby);
}, 120_000);

test("killed before it has noticed that the server was promoted: exact all the same, and nothing falls", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const target = site.target(standby);
  let before;
  {
    await using firstlight = await startProcess(target);
    await firstTotals(primary, firstlight);
    await standby.waitFor(primary);
    await primary.stop("immediate");
    await standby.promote();
    const later = await site.goOnAt(standby);
    await later.run({ workflows: 10 });
    before = await expectExact(firstlight, { primary: standby });
    await firstlight.kill();
  }
  {
    await using firstlight = await startProcess(target);
    const page = await expectExact(firstlight, { primary: standby });
    expect(regressions(before, page)).toEqual([]);
    report("killed right after a promotion", { gaps: JSON.stringify(gapsOf(page)) });
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedger(site, standby);
}, 120_000);

test("re-pointed to a promoted sibling: one connection goes on, and a later start needs no gap", async () => {
  await using site = await openSite();
  const { primary } = site;
  const [sibling, standby] = [await site.standby(), await site.standby()];
  const target = site.target(standby);
  {
    await using firstlight = await startProcess(target);
    await firstTotals(primary, firstlight);
    await site.simulation.run({ workflows: 20 });
    const before = await expectExact(firstlight, { primary, standby });
    await sibling.waitFor(primary);
    await primary.stop("immediate");
    await sibling.promote();
    await standby.repointTo(sibling);
    const later = await site.goOnAt(sibling);
    await later.run({ workflows: 20 });
    const page = await expectExact(firstlight, { primary: sibling, standby });
    expectNoGap(page);
    expect(regressions(before, page)).toEqual([]);
    expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
    await until(
      "the timeline is shown",
      async () => valueOf(await firstlight.scrape(), "firstlight_timeline") === 2,
      TIMELINE_WITHIN_MS,
    );
    // Stored with what comes next.
    await later.run({ workflows: 5 });
    await expectExact(firstlight, { primary: sibling, standby });
    expect(await firstlight.terminate()).toBe(0);
    await later.run({ workflows: 10 });
  }
  {
    await using firstlight = await startProcess(target);
    const page = await expectExact(firstlight, { primary: sibling, standby });
    expectNoGap(page);
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedger(site, sibling);
}, 120_000);

test("re-pointed to a promoted sibling that had less: nothing of the new history is taken for the old", async () => {
  await using site = await openSite();
  const { primary } = site;
  const [sibling, standby] = [await site.standby(), await site.standby()];
  const target = site.target(standby);
  await using firstlight = await startProcess(target);
  await firstTotals(primary, firstlight);
  await sibling.waitFor(primary);
  await sibling.stop("immediate");
  await site.simulation.run({ workflows: 20 });
  const before = await expectExact(firstlight, { primary, standby });
  const lost = await historyOf(primary);
  await primary.stop("immediate");
  await sibling.start();
  await sibling.promote();
  await standby.repointTo(sibling);
  const later = await site.goOnAt(sibling);
  await later.run({ workflows: 20 });
  // It can not join the new history any more, and says so only in its own log: to us it is a standby without news.
  const stuck = await firstlight.scrape();
  expect(sumOf(stuck, ATTEMPTS)).toBe(sumOf(before, ATTEMPTS));

  // The operator makes it anew, at the same address.
  await standby[Symbol.asyncDispose]();
  const rebuilt = await site.standby({ of: sibling, port: standby.port });
  await using _records = keepLogging(sibling);
  await until(
    "the gap is healed",
    async () => valueOf(await firstlight.scrape(), "firstlight_baselines_total") === 2,
    60_000,
  );
  await rebuilt.waitFor(sibling);
  const healed = await firstlight.caughtUp();
  expect(regressions(before, healed)).toEqual([]);
  expect(gapsOf(healed)).toEqual({ slot_missing: 1 });
  await later.run({ workflows: 5 });
  await rebuilt.waitFor(sibling);
  await firstlight.caughtUp();
  expect(await firstlight.terminate()).toBe(0);
  const now = await historyOf(sibling);
  report("a sibling that had less", {
    "attempts lost by the server": lostAttempts(lost, now),
  });
  expect(lostAttempts(lost, now)).toBeGreaterThan(0);
  expectBothHistories(target.statePath, lost, now);
}, 120_000);

test("promoted while the first baseline waits for its snapshot: the wait ends, and it is exact", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const writer = await site.client();
  // No record of the primary ends the wait while this is open, and it ends with the primary.
  await writer.query("begin; select pg_current_xact_id()");
  await standby.waitFor(primary);
  {
    await using firstlight = await startProcess(site.target(standby));
    await until("it waits", async () => {
      const waiting = await ask(
        standby,
        "select from pg_stat_activity where query like 'CREATE_REPLICATION_SLOT%'",
      );
      return waiting.length > 0;
    });
    await primary.stop("immediate");
    await standby.promote();
    const later = await site.goOnAt(standby);
    await later.run({ workflows: 10 });
    await until("totals are shown", async () => (await firstlight.scrape()).hasTotals, 60_000);
    expectNoGap(await expectExact(firstlight, { primary: standby }));
    await later.run({ workflows: 5 });
    await expectExact(firstlight, { primary: standby });
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedger(site, standby);
}, 120_000);
