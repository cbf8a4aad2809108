// SIGTERM ends it with exit code 0 well within the 5 s that orchestrators are told to allow, whatever it is doing.

import { expect, test } from "vitest";
import type pg from "pg";
import { type Simulation, openSimulation } from "../../src/demo/coder/simulation.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { type Process, publish, startProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { valueOf } from "../support/scrape.ts";
import { temporaryFolder } from "./support/folder.ts";
import { report } from "./support/report.ts";
import { confirmedFlush } from "./support/slots.ts";
import { storedEnd } from "./support/stored.ts";
import { type Target, spawnServe } from "./support/victim.ts";
import { holdWriteLock } from "./support/write-lock.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;
const STOPS_WITHIN_MS = 5_000;

test("SIGTERM while idle: it stops in time, with everything acknowledged", async () => {
  await withDeployment(async ({ client, target, simulation }) => {
    await using firstlight = await startProcess(target);
    await simulation.run({ workflows: 10 });
    await firstlight.caughtUp();
    await stops(firstlight, "idle");
    expect(await confirmedFlush(client, target.slot)).toBe(storedEnd(target.statePath));
  });
});

test("SIGTERM under load: it stops in time, and a later start misses nothing", async () => {
  await withDeployment(async ({ client, target, simulation }) => {
    {
      await using firstlight = await startProcess(target);
      const enough = new AbortController();
      const load = simulation.run({ workflows: 500, signal: enough.signal });
      const ended = load.catch(() => undefined);
      await until("it counts", async () => {
        const page = await firstlight.scrape();
        return (page.series.get('firstlight_facts_total{fact="ended"}') ?? 0) > 10;
      });
      await stops(firstlight, "under load");
      enough.abort();
      await ended;
    }
    await using firstlight = await startProcess(target);
    await expectSumsEqualRecount(client, await firstlight.caughtUp());
    expect(await firstlight.terminate()).toBe(0);
    await expectLedgerEqualsTables(client, target.statePath, simulation);
  });
});

test("SIGTERM while the store is locked: it stops in time", async () => {
  await withDeployment(async ({ target, simulation }) => {
    await using firstlight = await startProcess(target);
    await firstlight.caughtUp();
    using _held = holdWriteLock(target.statePath);
    await simulation.run({ workflows: 10 });
    await until("the store refuses", async () => {
      const page = await firstlight.scrape();
      return valueOf(page, "firstlight_reconnects_total") > 0;
    });
    await stops(firstlight, "with a locked store");
  });
});

test("SIGTERM while the baseline waits for an open transaction: it stops in time, and leaves no slot", async () => {
  await withDeployment(async ({ client, target, simulation, other }) => {
    await simulation.run({ workflows: 10 });
    await other.query("begin; select pg_current_xact_id()");
    {
      await using firstlight = await startProcess(target);
      await until("the baseline waits", async () => {
        const { rows } = await client.query(
          "select from pg_stat_activity where query like 'CREATE_REPLICATION_SLOT%' and wait_event = 'transactionid'",
        );
        return rows.length > 0;
      });
      expect((await firstlight.scrape()).hasTotals).toBe(false);
      expect((await firstlight.get("/readyz")).status).toBe(503);
      await stops(firstlight, "while the baseline waits");
    }
    await other.query("rollback");
    await until("no slot is left", async () => {
      const { rows } = await client.query(
        "select from pg_replication_slots where database = current_database()",
      );
      return rows.length === 0;
    });
    await using firstlight = await startProcess(target);
    await expectSumsEqualRecount(client, await firstlight.caughtUp());
  });
});

test("a second process on the same store exits with 3, names the store, and disturbs nobody", async () => {
  await withDeployment(async ({ client, target, simulation }) => {
    await using firstlight = await startProcess(target);
    await firstlight.caughtUp();
    await using second = spawnServe({ ...target, slot: uniqueSlot() });
    expect(await second.ended).toBe(3);
    expect(second.log.join("\n")).toContain(`another process uses the store ${target.statePath}`);
    expect(second.log.join("\n")).toContain("one store is one process");

    await simulation.run({ workflows: 5 });
    const page = await firstlight.caughtUp();
    await expectSumsEqualRecount(client, page);
    expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
    expect(await firstlight.terminate()).toBe(0);
  });
});

interface Deployment {
  readonly client: pg.Client;
  /** Another session. */
  readonly other: pg.Client;
  readonly target: Target;
  readonly simulation: Simulation;
}

async function withDeployment(check: (deployment: Deployment) => Promise<void>): Promise<void> {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const [client, other] = [await database.client(), await database.client()];
  await publish(client);
  await using simulation = openSimulation({ url: database.url, seed: 1, startAt: START_AT });
  await simulation.seedDeployment();
  const target = { url: database.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  await check({ client, other, target, simulation });
}

async function stops(firstlight: Process, when: string): Promise<void> {
  const began = performance.now();
  const code = await firstlight.terminate();
  const milliseconds = Math.round(performance.now() - began);
  report(`SIGTERM ${when}`, { milliseconds });
  expect(code, firstlight.log.join("\n")).toBe(0);
  expect(milliseconds).toBeLessThan(STOPS_WITHIN_MS);
}
