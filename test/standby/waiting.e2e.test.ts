// A slot on a standby waits for a record that only the primary can write. The wait is shown, ends when the record comes,
// and can be stopped. A standby without feedback is refused.

import { expect, test } from "vitest";
import type { Server } from "../../src/demo/server.ts";
import { type Firstlight, serverLsn, startProcess, until } from "../support/firstlight.ts";
import { ask, connect, keepLogging, logStandbySnapshot } from "../support/standby.ts";
import { report } from "../crash/support/report.ts";
import { spawnServe } from "../crash/support/victim.ts";
import { expectExact, openSite, troubleOf, urlOf } from "./support/site.ts";

const STOPS_WITHIN_MS = 5_000;
const ENDS_WITHIN_MS = 1_000;

test("an idle primary: the wait is shown, can be stopped, and ends within a second of pg_log_standby_snapshot()", async () => {
  await using site = await openSite({ settings: { bgwriter_delay: "10ms" } });
  const { primary } = site;
  const standby = await site.standby();
  await idle(primary);
  await standby.waitFor(primary);
  {
    await using firstlight = await startProcess(site.target(standby));
    await until("the wait is shown", async () => waits(firstlight));
    const began = performance.now();
    expect(await firstlight.terminate()).toBe(0);
    const milliseconds = Math.round(performance.now() - began);
    report("SIGTERM while a standby's slot waits", { milliseconds });
    expect(milliseconds).toBeLessThan(STOPS_WITHIN_MS);
    await until("no slot is left", async () => (await slots(standby)) === 0);
  }
  await using firstlight = await startProcess(site.target(standby));
  await until("the wait is shown again", async () => waits(firstlight));
  expect((await firstlight.get("/readyz")).status).toBe(503);
  const { hint } = await troubleOf(firstlight);
  expect(hint).toContain("select pg_log_standby_snapshot()");
  expect(hint).toContain("on the primary");
  const began = performance.now();
  await logStandbySnapshot(primary);
  await until("totals are shown", async () => (await firstlight.scrape()).hasTotals);
  const milliseconds = Math.round(performance.now() - began);
  report("the first totals after pg_log_standby_snapshot()", { milliseconds });
  expect(milliseconds).toBeLessThan(ENDS_WITHIN_MS);
  expect((await troubleOf(firstlight)).reason).toBe("");
  await expectExact(firstlight, { primary, standby });
}, 120_000);

test("a transaction that stays open on the primary holds the slot up until it ends", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const writer = await site.client();
  await writer.query("begin; select pg_current_xact_id()");
  await using _records = keepLogging(primary);
  await using firstlight = await startProcess(site.target(standby));
  await until("the wait is shown", async () => waits(firstlight));
  const seen = await serverLsn(urlOf(primary));
  await until("more records came", async () => (await serverLsn(urlOf(standby))) > seen + 200n);
  expect((await firstlight.scrape()).hasTotals).toBe(false);
  await writer.query("commit");
  await until("totals are shown", async () => (await firstlight.scrape()).hasTotals);
  await expectExact(firstlight, { primary, standby });
}, 120_000);

test("a standby without feedback is refused with its fix, and gets no slot", async () => {
  await using site = await openSite();
  const standby = await site.standby({ settings: { hot_standby_feedback: "off" } });
  await using refused = spawnServe(site.target(standby));
  expect(await refused.ended).toBe(3);
  const said = refused.log.join("\n");
  expect(said).toContain("hot_standby_feedback is off");
  expect(said).toContain("alter system set hot_standby_feedback = on");
  expect(await slots(standby)).toBe(0);
}, 120_000);

async function waits(firstlight: Firstlight): Promise<boolean> {
  return (await troubleOf(firstlight)).reason === "waiting_for_snapshot";
}

async function slots(server: Server): Promise<number> {
  return (await ask(server, "select from pg_replication_slots")).length;
}

/**
 * Waits until this server will write no record by itself. The background writer writes one up to 15 s after the last
 * change, and none after that.
 */
async function idle(server: Server): Promise<void> {
  await using client = await connect(server.url());
  await client.query("select pg_logical_emit_message(true, 'last', 'change')");
  const last = await serverLsn(server.url());
  await until("the primary is idle", async () => (await serverLsn(server.url())) > last, 30_000);
}
