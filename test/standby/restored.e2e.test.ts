// A server that comes back with less than it had: a standby catches up again and is waited for; a primary that was restored
// to a point in time has another history.

import { execFile } from "node:child_process";
import { appendFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { Server } from "../../src/demo/server.ts";
import { startInProcess, until } from "../support/firstlight.ts";
import { regressions, valueOf } from "../support/scrape.ts";
import { ask } from "../support/standby.ts";
import { report } from "../crash/support/report.ts";
import { expectBothHistories, historyOf, lostAttempts } from "./support/histories.ts";
import {
  expectExact,
  expectLedger,
  expectNoGap,
  firstTotals,
  gapsOf,
  openSite,
  troubleOf,
} from "./support/site.ts";

const run = promisify(execFile);

test("a standby that was restored from an older copy is waited for, and followed without a gap", async () => {
  await using site = await openSite({ settings: { wal_keep_size: "512MB" } });
  const { primary } = site;
  const standby = await site.standby();
  const target = site.target(standby);
  await using backup = await backupOf(standby);
  {
    await using firstlight = await startInProcess(target);
    await firstTotals(primary, firstlight);
    await backup.take();
    await site.simulation.run({ workflows: 20 });
    await expectExact(firstlight, { primary, standby, withinMs: 60_000 });
  }
  await standby.stop("immediate");
  await backup.putBack();
  // Until it is let loose it replays no further than the copy goes.
  await appendFile(join(standby.dataDir, "postgresql.auto.conf"), "primary_conninfo = ''\n");
  await standby.start();
  {
    await using firstlight = await startInProcess({ ...target, timing: { backOffUpToMs: 500 } });
    await until(
      "it waits, and tries again",
      async () => valueOf(await firstlight.scrape(), "firstlight_reconnects_total") > 2,
    );
    expect((await troubleOf(firstlight)).reason).toBe("standby_behind");
    const [slot] = await ask<{ active: boolean }>(
      standby,
      "select active from pg_replication_slots where invalidation_reason is null",
    );
    expect(slot).toEqual({ active: false });
    await standby.repointTo(primary);
    const page = await expectExact(firstlight, { primary, standby });
    expectNoGap(page);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
    await site.simulation.run({ workflows: 10 });
    await expectExact(firstlight, { primary, standby });
  }
  await expectLedger(site, primary);
}, 120_000);

test("a primary restored to a point in time: a gap is healed, nothing falls, and what was lost is listed", async () => {
  await using site = await openSite();
  const { primary } = site;
  const target = site.target(primary);
  await using backup = await backupOf(primary);
  let before;
  {
    await using firstlight = await startInProcess(target);
    await firstlight.caughtUp();
    await backup.take();
    await site.simulation.run({ workflows: 20 });
    before = await expectExact(firstlight, { primary, withinMs: 60_000 });
  }
  const lost = await historyOf(primary);
  await primary.stop("immediate");
  await backup.putBack();
  // Archive recovery with an empty archive: it ends where the copy ends, on a new timeline.
  await writeFile(join(primary.dataDir, "recovery.signal"), "");
  await appendFile(join(primary.dataDir, "postgresql.auto.conf"), "restore_command = 'false'\n");
  await primary.start();
  await until("it takes writes", async () => {
    const [row] = await ask<{ recovers: boolean }>(
      primary,
      "select pg_is_in_recovery() as recovers",
    );
    return row?.recovers === false;
  });
  const later = await site.goOnAt(primary);
  await later.run({ workflows: 30 });
  {
    await using firstlight = await startInProcess(target);
    const page = await firstlight.caughtUp();
    expect(regressions(before, page)).toEqual([]);
    expect(gapsOf(page)).toEqual({ timeline_changed: 1 });
    await later.run({ workflows: 5 });
    await firstlight.caughtUp();
  }
  const now = await historyOf(primary);
  report("restored to a point in time", { "attempts lost": lostAttempts(lost, now) });
  expect(lostAttempts(lost, now)).toBeGreaterThan(0);
  expectBothHistories(target.statePath, lost, now);
}, 120_000);

test("a standby that crashed replays what we have already: it is followed again without a gap", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  {
    await using firstlight = await startInProcess(site.target(standby));
    await firstTotals(primary, firstlight);
    for (let crash = 0; crash < 2; crash += 1) {
      await site.simulation.run({ workflows: 10 });
      await expectExact(firstlight, { primary, standby });
      await standby.stop("immediate");
      await site.simulation.run({ workflows: 10 });
      await standby.start();
      const page = await expectExact(firstlight, { primary, standby, withinMs: 60_000 });
      expectNoGap(page);
      expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
    }
  }
  await expectLedger(site, primary);
}, 120_000);

interface Backup extends AsyncDisposable {
  /** Copies the files of the server, which is stopped for that. */
  take(): Promise<void>;
  /** The server must have been stopped. */
  putBack(): Promise<void>;
}

async function replace(from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await run("cp", ["-a", from, to]);
}

/** Cold copies: slots and all. */
async function backupOf(server: Server): Promise<Backup> {
  const copy = `${server.dataDir}-backup`;
  return {
    async take() {
      await server.stop("fast");
      await replace(server.dataDir, copy);
      await server.start();
    },
    putBack: async () => replace(copy, server.dataDir),
    [Symbol.asyncDispose]: async () => rm(copy, { recursive: true, force: true }),
  };
}
