// A polite stop of the standby ends within 2 s with us attached, whatever we are waiting for; and we find back.

import { expect, test } from "vitest";
import { type Process, startProcess, until } from "../support/firstlight.ts";
import { valueOf } from "../support/scrape.ts";
import { type Standby, ask, keepLogging } from "../support/standby.ts";
import { report } from "../crash/support/report.ts";
import { holdWriteLock } from "../crash/support/write-lock.ts";
import { type Site, expectExact, firstTotals, openSite } from "./support/site.ts";
import { manyAgents } from "./support/many.ts";

const STOPS_WITHIN_MS = 2_000;
/** The longest back-off, and what catching up takes. */
const RECOVERS_WITHIN_MS = 60_000;

test("while we are idle, and while our store is locked", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const target = site.target(standby);
  await using firstlight = await startProcess(target);
  await firstTotals(primary, firstlight);
  await expectExact(firstlight, { primary, standby });
  await stops(standby, "while we are idle");
  await recovers(site, standby, firstlight);

  {
    using _held = holdWriteLock(target.statePath);
    expect(valueOf(await firstlight.scrape(), "firstlight_stream_connected")).toBe(1);
    await stops(standby, "while our store is locked");
  }
  await recovers(site, standby, firstlight);
}, 120_000);

test("while news has come that we have not read", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const target = site.target(standby);
  await using firstlight = await startProcess(target);
  await firstTotals(primary, firstlight);
  await expectExact(firstlight, { primary, standby });
  // A process that gets no CPU: the server hears nothing from it.
  process.kill(firstlight.pid, "SIGSTOP");
  await site.simulation.run({ workflows: 10 });
  await standby.waitFor(primary);
  setTimeout(() => process.kill(firstlight.pid, "SIGCONT"), 300);
  await stops(standby, "while news is unread");
  await recovers(site, standby, firstlight);
}, 120_000);

test("while a baseline waits for its snapshot, and while it reads the tables", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  await manyAgents(await site.client());
  await standby.waitFor(primary);
  const writer = await site.client();
  // No record ends the wait while this is open.
  await writer.query("begin; select pg_current_xact_id()");
  await using firstlight = await startProcess(site.target(standby));
  await until("the slot waits", async () =>
    isActive(standby, "query like 'CREATE_REPLICATION_SLOT%'"),
  );
  await stops(standby, "while a baseline waits for its snapshot");
  await writer.query("commit");

  await standby.start();
  await using _records = keepLogging(primary);
  await until(
    "it reads the tables",
    async () => isActive(standby, "state = 'active' and query ilike 'copy%workspace_agents%'"),
    RECOVERS_WITHIN_MS,
  );
  await stops(standby, "while a baseline reads the tables");
  expect((await firstlight.scrape()).hasTotals).toBe(false);
  await recovers(site, standby, firstlight);
}, 120_000);

async function stops(standby: Standby, when: string): Promise<void> {
  const began = performance.now();
  await standby.stop("fast");
  const milliseconds = Math.round(performance.now() - began);
  report(`a polite stop of the standby ${when}`, { milliseconds });
  expect(milliseconds).toBeLessThan(STOPS_WITHIN_MS);
}

async function recovers(site: Site, standby: Standby, firstlight: Process): Promise<void> {
  const { primary } = site;
  await standby.start();
  await site.simulation.run({ workflows: 5 });
  await expectExact(firstlight, { primary, standby, withinMs: RECOVERS_WITHIN_MS });
}

async function isActive(standby: Standby, what: string): Promise<boolean> {
  return (await ask(standby, `select from pg_stat_activity where ${what}`)).length > 0;
}
