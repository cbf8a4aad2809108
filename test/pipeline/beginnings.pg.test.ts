// How following begins and what it does at a gap, flag by flag: each against a real slot of a real server.

import { expect, test } from "vitest";
import { Store } from "../../src/store/store.ts";
import { createSlot } from "../crash/support/slots.ts";
import { holdWriteLock } from "../crash/support/write-lock.ts";
import { troubleOf } from "../standby/support/site.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { startInProcess, until } from "../support/firstlight.ts";
import { JOBS } from "../support/hand-made.ts";
import { CATALOG } from "../support/ledger.ts";
import { type Scrape, regressions, sumOf } from "../support/scrape.ts";
import {
  RECOVERS_WITHIN_MS,
  cut,
  scene,
  sceneAlone,
  slotsHere,
  waitForTrouble,
  writeFiller,
} from "./support/scene.ts";

const ATTEMPTS = "coderd_workspace_creation_attempts_total";

const gaps = (page: Scrape): [string, number][] =>
  [...page.series].filter(([name]) => name.startsWith("firstlight_gaps_total"));

const minutesAgo = (minutes: number): number => Date.now() - minutes * 60_000;

test("--baseline none counts what the slot has to tell, nothing before it, and halts at a gap", async () => {
  await scene(async ({ client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    const earlier = await made.build({ job: JOBS.running });
    await createSlot(client, target.slot);
    const later = await made.build({ job: JOBS.running });
    await client.query("update provisioner_jobs set completed_at = now() where id = any ($1)", [
      [earlier.job, later.job],
    ]);
    const env = { FIRSTLIGHT_BASELINE: "none" };
    {
      await using firstlight = await startInProcess({ ...target, env });
      const page = await firstlight.caughtUp();
      expect(sumOf(page, ATTEMPTS)).toBe(1);
      expect(sumOf(page, "coderd_workspace_creation_outcomes_total")).toBe(1);
      expect(page.series.get("firstlight_baselines_total")).toBe(0);
    }
    // Away while somebody else consumes one build, and counts go on from where the slot is.
    await made.build({ job: JOBS.succeeded });
    await client.query("select pg_replication_slot_advance($1, pg_current_wal_lsn())", [
      target.slot,
    ]);
    await using firstlight = await startInProcess({ ...target, env });
    await waitForTrouble(firstlight, "halted");
    const page = await firstlight.scrape();
    expect(page.hasTotals).toBe(false);
    expect(gaps(page)).toEqual([['firstlight_gaps_total{reason="slot_ahead"}', 1]]);
    expect((await troubleOf(firstlight)).hint).toContain("--baseline tables");
  });
});

test("--baseline none without a slot is refused, and creates none", async () => {
  await scene(async ({ client, target }) => {
    const firstlight = await startInProcess({ ...target, env: { FIRSTLIGHT_BASELINE: "none" } });
    await expect(firstlight.ended).rejects.toThrow(/replays a slot, but .* is missing or lost/);
    await firstlight[Symbol.asyncDispose]();
    expect(await slotsHere(client)).toEqual([]);
  });
});

test("--on-gap halt: totals stay shown, no connection holds a slot, and a start without it heals", async () => {
  await scene(async ({ client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    const env = { FIRSTLIGHT_ON_GAP: "halt" };
    let before: Scrape;
    {
      await using firstlight = await startInProcess({ ...target, env });
      before = await firstlight.caughtUp();
      await cut(client, target.slot);
      await until("the slot is dropped", async () => {
        await client.query("select pg_drop_replication_slot($1)", [target.slot]).catch(() => null);
        return (await slotsHere(client)).length === 0;
      });
      await made.build({ job: JOBS.failed });
      await waitForTrouble(firstlight, "halted");
      const page = await firstlight.scrape();
      expect(sumOf(page, ATTEMPTS)).toBe(1);
      expect(gaps(page)).toEqual([['firstlight_gaps_total{reason="slot_missing"}', 1]]);
      expect((await troubleOf(firstlight)).hint).toContain("--on-gap baseline");
      expect(await slotsHere(client)).toEqual([]);
    }
    await using firstlight = await startInProcess(target);
    const after = await firstlight.caughtUp();
    expect(regressions(before, after)).toEqual([]);
    await expectSumsEqualRecount(client, after);
  });
});

test("--temporary-slot leaves no slot behind and begins each connection from the tables", async () => {
  await scene(async ({ client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    const env = { FIRSTLIGHT_TEMPORARY_SLOT: "true" };
    {
      await using firstlight = await startInProcess({ ...target, env });
      const before = await firstlight.caughtUp();
      expect(gaps(before)).toEqual([]);
      await made.build({ job: JOBS.pending });
      await expectSumsEqualRecount(client, await firstlight.caughtUp());
      const { rows } = await client.query(
        "select temporary from pg_replication_slots where slot_name = $1",
        [target.slot],
      );
      expect(rows).toEqual([{ temporary: true }]);
      await cut(client, target.slot);
      await made.build({ job: JOBS.failed });
      const after = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
      expect(regressions(before, after)).toEqual([]);
      expect(gaps(after)).toEqual([['firstlight_gaps_total{reason="temporary_slot"}', 1]]);
      await expectSumsEqualRecount(client, after);
    }
    await until("no slot is left", async () => (await slotsHere(client)).length === 0);
    await expectLedgerEqualsTables(client, target.statePath);
  });
});

test("--temporary-slot beside a permanent slot of that name is refused: it would hold back WAL unread", async () => {
  await scene(async ({ client, target }) => {
    await createSlot(client, target.slot);
    const firstlight = await startInProcess({
      ...target,
      env: { FIRSTLIGHT_TEMPORARY_SLOT: "true" },
    });
    await expect(firstlight.ended).rejects.toThrow(/there is a permanent slot/);
    await firstlight[Symbol.asyncDispose]();
    expect(await slotsHere(client)).toEqual([target.slot]);
  });
});

test("--max-slot-lag: a slot that holds back too much while the store refuses is dropped, and healed later", async () => {
  // Alone: a neighbour's WAL may be more than the limit at any time.
  await sceneAlone(async ({ client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    await using firstlight = await startInProcess({
      ...target,
      env: { FIRSTLIGHT_MAX_SLOT_LAG: "1MB" },
    });
    const before = await firstlight.caughtUp();
    {
      using _held = holdWriteLock(target.statePath);
      await made.build({ job: JOBS.failed });
      await writeFiller(client);
      await until(
        "the slot is dropped",
        async () => (await slotsHere(client)).length === 0,
        RECOVERS_WITHIN_MS,
      );
      expect(sumOf(await firstlight.scrape(), ATTEMPTS)).toBe(1);
    }
    const after = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
    expect(regressions(before, after)).toEqual([]);
    expect(gaps(after)).toEqual([['firstlight_gaps_total{reason="slot_lag"}', 1]]);
    await expectSumsEqualRecount(client, after);
  });
});

test("six baselines an hour, counted over restarts: the next gap waits, with the totals shown", async () => {
  await scene(async ({ client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    {
      await using firstlight = await startInProcess(target);
      await firstlight.caughtUp();
    }
    const beginAgain = (times: number[]): void => {
      using store = Store.open({ path: target.statePath, catalog: CATALOG });
      store.load();
      store.rememberBaselines(times);
    };
    beginAgain([50, 40, 30, 20, 10, 5].map(minutesAgo));
    await client.query("select pg_drop_replication_slot($1)", [target.slot]);
    await made.build({ job: JOBS.failed });
    {
      await using firstlight = await startInProcess(target);
      await waitForTrouble(firstlight, "baseline_rate");
      const page = await firstlight.scrape();
      expect(sumOf(page, ATTEMPTS)).toBe(1);
      expect(gaps(page)).toEqual([['firstlight_gaps_total{reason="slot_missing"}', 1]]);
      expect(await slotsHere(client)).toEqual([]);
    }
    beginAgain([61, 40, 30, 20, 10, 5].map(minutesAgo));
    await using firstlight = await startInProcess(target);
    await expectSumsEqualRecount(client, await firstlight.caughtUp());
  });
});
