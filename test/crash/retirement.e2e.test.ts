// SIGKILL around a retirement. What a workspace deletes goes in the very commit that tells of its deletion (all of it was long ago, by the
// simulated clock), so every point around a commit is one around a retirement.

import type pg from "pg";
import { expect, test, vi } from "vitest";
import type { CrashPoint } from "../../src/pipeline/follow.ts";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { expectShownByName, retirementOf } from "../support/exact-deletions.ts";
import { publish, startInProcess, uniqueSlot } from "../support/firstlight.ts";
import type { Scrape } from "../support/scrape.ts";
import { temporaryFolder } from "./support/folder.ts";
import { type Target, spawnServe } from "./support/victim.ts";

const DIE = new URL("./support/serve-and-die.ts", import.meta.url).pathname;
vi.setConfig({ testTimeout: 180_000 });

const DAY = 86_400_000_000;
const RETIRES = { FIRSTLIGHT_SERIES_RETIRE_AFTER: "1d" };
const DEATHS = 3;

test.each(["before commit", "after commit, before show"] as const)(
  "killed %s, again and again: what is hidden stays so, what is shown is right, and nothing is lost",
  async (point) => {
    await using database = await createDatabase();
    await using folder = await temporaryFolder();
    const client = await database.client();
    await publish(client);
    await using simulation = openSimulation({
      url: database.url,
      seed: 11,
      startAt: Date.now() * 1_000 - 30 * DAY,
    });
    await simulation.seedDeployment();
    const target = {
      url: database.url,
      slot: uniqueSlot(),
      statePath: folder.path("firstlight.db"),
    };
    await followed(client, target, RETIRES);
    for (let death = 1; death <= DEATHS; death += 1) {
      await diesAt(target, point, (signal) => simulation.run({ workflows: 100, signal }));
      expectShownByName(target.statePath, await followed(client, target, RETIRES));
    }
    expect(retirementOf(target.statePath).hidden, "the premise").toBeGreaterThan(0);
    await expectLedgerEqualsTables(client, target.statePath, simulation);
    const all = await followed(client, target, { FIRSTLIGHT_SERIES_RETIRE_AFTER: "never" });
    await expectSumsEqualRecount(client, all);
  },
);

/** The page once a commit retires nothing more: each takes up some deletions. */
async function followed(
  client: pg.Client,
  target: Target,
  env: Readonly<Record<string, string>>,
): Promise<Scrape> {
  await using firstlight = await startInProcess({ ...target, env });
  for (let before = await firstlight.caughtUp(); ;) {
    await client.query("select pg_logical_emit_message(true, 'something', 'to commit')");
    const page = await firstlight.caughtUp();
    if (page.series.size === before.series.size) return page;
    before = page;
  }
}

/** Follows until it is killed at the second batch with facts; what is under way at the database then is finished. */
async function diesAt(
  target: Target,
  point: CrashPoint,
  work: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  await using victim = spawnServe(target, {
    script: DIE,
    env: { ...RETIRES, CRASH_POINT: point, CRASH_AT: "2" },
  });
  const died = new AbortController();
  const ended = victim.ended.finally(() => died.abort(new Error("the victim has died")));
  for (;;) {
    try {
      await work(died.signal);
    } catch (error) {
      if (!died.signal.aborted) throw error;
      break;
    }
  }
  expect(await ended, victim.log.join("\n")).toBe("SIGKILL");
}
