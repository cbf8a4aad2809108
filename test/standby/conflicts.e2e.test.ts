// What replay on a standby does to its readers: it invalidates a slot whose catalog rows are vacuumed away, and cancels a
// read that stands in its way.

import { expect, test } from "vitest";
import type pg from "pg";
import { expectLedgerEqualsTables } from "../support/exact.ts";
import { startInProcess, startProcess, until } from "../support/firstlight.ts";
import { regressions, valueOf } from "../support/scrape.ts";
import { type Standby, ask, configure, keepLogging } from "../support/standby.ts";
import {
  expectExact,
  expectLedger,
  firstTotals,
  gapsOf,
  openSite,
  troubleOf,
} from "./support/site.ts";
import { manyAgents } from "./support/many.ts";

test("a slot that a vacuum invalidated is named, and healed once feedback is on again", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const client = await site.client();
  {
    await using firstlight = await startInProcess({
      ...site.target(standby),
      timing: { backOffUpToMs: 1_000 },
    });
    await firstTotals(primary, firstlight);
    const before = await expectExact(firstlight, { primary, standby });
    await configure(standby, { hot_standby_feedback: "off" });
    await until("the primary protects nothing for it", async () => {
      const [slot] = await ask<{ free: boolean }>(
        primary,
        `select xmin is null and catalog_xmin is null as free from pg_replication_slots where slot_name = '${standby.slot}'`,
      );
      return slot?.free === true;
    });
    await vacuumCatalogs(client);
    await until("the slot is lost", async () => (await invalidation(standby)) === "rows_removed");
    await site.simulation.run({ workflows: 10 });
    await until("it says what to do", async () =>
      (await troubleOf(firstlight)).hint.includes("hot_standby_feedback = on"),
    );
    const held = await firstlight.scrape();
    expect(regressions(before, held)).toEqual([]);
    expect(valueOf(held, "firstlight_ready")).toBe(1);
    expect(valueOf(held, 'firstlight_slot_wal_status{state="lost"}')).toBe(1);
    expect(valueOf(held, "firstlight_slot_active")).toBe(0);

    await configure(standby, { hot_standby_feedback: "on" });
    await using _records = keepLogging(primary);
    const healed = await expectExact(firstlight, { primary, standby, withinMs: 60_000 });
    expect(regressions(before, healed)).toEqual([]);
    expect(gapsOf(healed)).toEqual({ slot_lost: 1 });
    expect(firstlight.log.join("\n")).toContain("the slot was invalidated: rows_removed");
    expect(await invalidation(standby)).toBeNull();
  }
  await expectLedger(site, primary);
}, 120_000);

test("a baseline whose read is cancelled by replay is tried again, and exact", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby({ settings: { max_standby_streaming_delay: "100ms" } });
  const client = await site.client();
  await manyAgents(client);
  await standby.waitFor(primary);
  const target = site.target(standby);
  {
    await using _records = keepLogging(primary);
    await using firstlight = await startProcess(target);
    const observer = await site.client(standby);
    await until("it reads the agents", async () => readsAgents(observer));
    // It holds still, so that its read is still under way when replay wants the table.
    process.kill(firstlight.pid, "SIGSTOP");
    await client.query("begin; lock table workspace_agents in access exclusive mode; commit");
    await until("replay waits for the read", async () => replayWaits(standby));
    process.kill(firstlight.pid, "SIGCONT");
    await until("totals are shown", async () => (await firstlight.scrape()).hasTotals, 60_000);
    expect(firstlight.log.filter((line) => line.includes('"conflict"'))).not.toEqual([]);
    const page = await expectExact(firstlight, { primary, standby });
    expect(valueOf(page, "firstlight_reconnects_total")).toBeGreaterThan(0);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedgerEqualsTables(client, target.statePath);
}, 120_000);

/** Removes catalog rows that a decoder of older WAL needs. */
async function vacuumCatalogs(client: pg.Client): Promise<void> {
  for (let i = 0; i < 20; i += 1) {
    await client.query(`create table churn_${i} (a int, b text)`);
    await client.query(`drop table churn_${i}`);
  }
  for (const catalog of ["pg_class", "pg_attribute", "pg_type"])
    await client.query(`vacuum full pg_catalog.${catalog}`);
}

/** Why our slot is of no use any more; null: it is. */
async function invalidation(standby: Standby): Promise<string | null | undefined> {
  const [slot] = await ask<{ reason: string | null }>(
    standby,
    "select invalidation_reason as reason from pg_replication_slots where not temporary",
  );
  return slot?.reason;
}

/** From its COPY of the agents until its end; the lock is what replay will want. */
async function readsAgents(client: pg.Client): Promise<boolean> {
  const { rowCount } = await client.query(
    "select from pg_locks where relation = 'workspace_agents'::regclass and pid <> pg_backend_pid()",
  );
  return rowCount !== 0;
}

async function replayWaits(standby: Standby): Promise<boolean> {
  const waiting = await ask(
    standby,
    "select from pg_stat_activity where backend_type = 'startup' and wait_event_type = 'Lock'",
  );
  return waiting.length > 0;
}
