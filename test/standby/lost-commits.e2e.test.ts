// A server comes up that lacks what we have counted, and nothing of our slot on it tells so. What is lost stays counted and is
// listed: as vanished, or as revised where the job is there again, but has not ended.

import { copyFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createSlot } from "../crash/support/slots.ts";
import { startInProcess } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import type { RecountById } from "../support/recount.ts";
import { type Scrape, regressions } from "../support/scrape.ts";
import type { Standby } from "../support/standby.ts";
import { released, writeFiller } from "../pipeline/support/scene.ts";
import { expectBothHistories, historyOf, lostAttempts } from "./support/histories.ts";
import { type Site, expectExact, gapsOf, openSite } from "./support/site.ts";

/** A standby was promoted that lacks what the store has: more WAL than it has written itself by now. */
interface FailedOver {
  readonly site: Site;
  readonly standby: Standby;
  /** What the primary had at its end, as shown and as in its tables. */
  readonly before: Scrape;
  readonly lost: RecountById;
  /** A job that ended in what was lost, and was running before. */
  readonly running: { readonly job: string; readonly workspace: string };
}

async function failOver(site: Site): Promise<FailedOver> {
  const { primary } = site;
  const standby = await site.standby();
  const client = await site.client();
  const made = await HandMade.again(client);
  const { job, workspace } = await made.build({ job: JOBS.running });
  await using firstlight = await startInProcess(site.target(primary));
  await firstlight.caughtUp();
  await standby.waitFor(primary);
  await standby.stop("immediate");
  await client.query("update provisioner_jobs set completed_at = now() where id = $1", [job]);
  // Before news, which are stored at once: the new primary never gets that far in this file.
  for (let i = 0; i < 3; i += 1) await writeFiller(client);
  await site.simulation.run({ workflows: 20 });
  const before = await expectExact(firstlight, { primary });
  const lost = await historyOf(primary);
  await primary.stop("immediate");
  await standby.start();
  await standby.promote();
  // Counted by nobody yet.
  const later = await site.goOnAt(standby);
  await later.run({ workflows: 5 });
  return { site, standby, before, lost, running: { job, workspace } };
}

let failed: FailedOver;
const owned = new AsyncDisposableStack();

beforeAll(async () => {
  failed = await failOver(owned.use(await openSite()));
}, 120_000);
afterEach(async () => {
  const { site, standby } = failed;
  const { slot } = site.target(standby);
  const client = await site.client(standby);
  await released(client, slot);
  await client.query(
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1",
    [slot],
  );
});
afterAll(async () => owned.disposeAsync());

/** Follows the new primary with a copy of the store until it shows everything; nothing may be lost of either history. */
async function expectListed(
  name: string,
  gap: string,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { site, standby, before, lost, running } = failed;
  const target = site.target(standby);
  const statePath = `${target.statePath}-${name}`;
  await copyFile(target.statePath, statePath);
  {
    await using firstlight = await startInProcess({ ...target, statePath, env });
    const page = await firstlight.caughtUp();
    expect(regressions(before, page)).toEqual([]);
    expect(gapsOf(page)).toEqual({ [gap]: 1 });
  }
  const now = await historyOf(standby);
  expect(lostAttempts(lost, now)).toBeGreaterThan(0);
  expectBothHistories(statePath, lost, now, [
    `ended ${running.job}`,
    `created ${running.workspace}`,
  ]);
}

test("failover to a server without our slot: what it lacks is listed", async () => {
  await expectListed("missing", "slot_missing");
});

test("failover with --temporary-slot: what the new primary lacks is listed", async () => {
  await expectListed("temporary", "temporary_slot", { FIRSTLIGHT_TEMPORARY_SLOT: "true" });
});

test("failover to a server whose slot lags so much that it is dropped: what it lacks is listed", async () => {
  const { site, standby } = failed;
  const client = await site.client(standby);
  await createSlot(client, site.target(standby).slot);
  await writeFiller(client);
  await expectListed("lag", "slot_lag", { FIRSTLIGHT_MAX_SLOT_LAG: "1MB" });
});

test("a slot made by hand on the new primary, beyond the fork, does not hide what passed before it", async () => {
  const { site, standby } = failed;
  await createSlot(await site.client(standby), site.target(standby).slot);
  await (await site.goOnAt(standby)).run({ workflows: 3 });
  await expectListed("by-hand", "timeline_changed");
});

test("moved back to the old primary, on an older timeline: what only the other had is listed", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  await standby.waitFor(primary);
  await standby.promote();
  const elsewhere = await site.goOnAt(standby);
  {
    await using firstlight = await startInProcess(site.target(standby));
    await firstlight.caughtUp();
    await elsewhere.run({ workflows: 10 });
    await firstlight.caughtUp();
  }
  const lost = await historyOf(standby);
  await site.simulation.run({ workflows: 5 });
  {
    await using firstlight = await startInProcess(site.target(primary));
    expect(gapsOf(await firstlight.caughtUp())).toEqual({ slot_missing: 1 });
  }
  const now = await historyOf(primary);
  expect(lostAttempts(lost, now)).toBeGreaterThan(0);
  expectBothHistories(site.target(primary).statePath, lost, now);
}, 120_000);
