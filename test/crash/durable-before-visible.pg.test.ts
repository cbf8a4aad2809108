// Nothing is shown or acknowledged that the disk does not have. Kills can not show this, because replay heals what they
// break, so here the disk refuses: the test holds the store's write lock itself.

import { expect, test } from "vitest";
import type pg from "pg";
import { type Lsn, parseLsn } from "../../src/lsn.ts";
import { type Simulation, openSimulation } from "../../src/demo/coder/simulation.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import {
  type Firstlight,
  publish,
  serverLsn,
  startInProcess,
  startProcess,
  uniqueSlot,
  until,
} from "../support/firstlight.ts";
import { type Scrape, sumOf, valueOf } from "../support/scrape.ts";
import { temporaryFolder } from "./support/folder.ts";
import { confirmedFlush } from "./support/slots.ts";
import { storedEnd } from "./support/stored.ts";
import { holdWriteLock } from "./support/write-lock.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;
/** Tries to follow, each of which fails at the lock. */
const TRIES = 3;
/** The longest back-off, and what catching up takes. */
const RECOVERS_WITHIN_MS = 40_000;

const ALL_TIME = /^coderd_.*(_total|_bucket|_sum|_count|_in_flight)\{/;

test("while the store can not be written nothing is shown and nothing is acknowledged", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await using simulation = await deployment(client, database.url);
  const target = { url: database.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  {
    await using firstlight = await startInProcess(target);
    const before = await firstlight.caughtUp();
    let stored: Lsn;
    let whileHeld: Scrape;
    {
      using _held = holdWriteLock(target.statePath);
      stored = await storedBy(firstlight);
      await simulation.run({ workflows: 20 });
      await until("it has tried", () => refusals(firstlight) >= TRIES, RECOVERS_WITHIN_MS);
      whileHeld = await firstlight.scrape();
      // Bursts acknowledge what is stored with the next burst, which has come since; more is not stored.
      expect(await confirmedFlush(client, target.slot)).toBe(stored);
      expect(await (await firstlight.get("/api/status")).json()).toMatchObject({
        state: "not following",
        trouble: { reason: "store" },
      });
      expect((await firstlight.get("/readyz")).status).toBe(200);
    }
    expect(totals(whileHeld)).toEqual(totals(before));
    expect(valueOf(whileHeld, "firstlight_ready")).toBe(1);
    expect(valueOf(whileHeld, "firstlight_stream_connected")).toBe(0);
    expect(valueOf(whileHeld, "firstlight_reconnects_total")).toBeGreaterThanOrEqual(TRIES);
    expect(firstlight.log.filter((line) => line.includes("not following")).join()).toContain(
      '"reason":"store"',
    );

    const after = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
    await expectSumsEqualRecount(client, after);
    expect(sumOf(after, ATTEMPTS)).toBeGreaterThan(sumOf(before, ATTEMPTS));
    await until(
      "what is durable is acknowledged",
      async () => (await confirmedFlush(client, target.slot)) > stored,
    );
    expect(valueOf(after, "firstlight_stream_connected")).toBe(1);
  }
  await expectLedgerEqualsTables(client, target.statePath, simulation);
});

test("what was never durable is forgotten by a crash, and comes again", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await using simulation = await deployment(client, database.url);
  const target = { url: database.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  let before: Lsn;
  {
    await using firstlight = await startProcess(target);
    await firstlight.caughtUp();
    {
      using _held = holdWriteLock(target.statePath);
      await simulation.run({ workflows: 20 });
      await until("it has tried", () => refusals(firstlight) >= 1, RECOVERS_WITHIN_MS);
      before = await serverLsn(database.url);
      await firstlight.kill();
    }
  }
  expect(storedEnd(target.statePath)).toBeLessThan(before);
  {
    await using firstlight = await startProcess(target);
    await expectSumsEqualRecount(client, await firstlight.caughtUp());
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedgerEqualsTables(client, target.statePath, simulation);
});

const ATTEMPTS = "coderd_workspace_creation_attempts_total";

async function deployment(client: pg.Client, url: string): Promise<Simulation> {
  await publish(client);
  const simulation = openSimulation({ url, seed: 1, startAt: START_AT });
  await simulation.seedDeployment();
  await simulation.run({ workflows: 20 });
  return simulation;
}

/** The position in its store, as it says itself. */
async function storedBy(firstlight: Firstlight): Promise<Lsn> {
  const { durable } = (await (await firstlight.get("/api/status")).json()) as { durable: string };
  return parseLsn(durable);
}

/** How often the log says that the store refused. */
function refusals({ log }: Pick<Firstlight, "log">): number {
  return log.filter((line) => line.includes('"reason":"store"')).length;
}

function totals(scrape: Scrape): Record<string, number> {
  return Object.fromEntries([...scrape.series].filter(([name]) => ALL_TIME.test(name)));
}
