// Somebody else streams from our slot. We wait and say who it is, end nobody, and follow again once it has left; what it
// consumed meanwhile is a gap.

import type pg from "pg";
import { expect, test } from "vitest";
import { expectSumsEqualRecount } from "../../support/exact.ts";
import {
  type InProcess,
  serverLsn,
  startInProcess,
  uniqueSlot,
  until,
} from "../../support/firstlight.ts";
import { JOBS } from "../../support/hand-made.ts";
import { type Scrape, sumOf } from "../../support/scrape.ts";
import { expectAccounted } from "../support/accounted.ts";
import { RECOVERS_WITHIN_MS, type Scene, gaps, said, scene } from "../support/scene.ts";
import { steal } from "../support/thief.ts";

async function holder(client: pg.Client, slot: string): Promise<number | null> {
  const { rows } = await client.query<{ active_pid: number | null }>(
    "select active_pid from pg_replication_slots where slot_name = $1",
    [slot],
  );
  return rows[0]?.active_pid ?? null;
}

/** Has tried several times, says whom it waits for, and has done nothing about it. */
async function expectWaiting({ firstlight, client, slot }: Scene, pid: number): Promise<void> {
  const refusals = (): Record<string, unknown>[] =>
    said(firstlight.log, "not following, will try again").filter(
      ({ reason }) => reason === "slot_in_use",
    );
  await until("it was refused a few times", () => refusals().length >= 4, RECOVERS_WITHIN_MS);
  expect(String(refusals()[0]?.["problem"])).toContain(String(pid));
  expect(await holder(client, slot)).toBe(pid);
  const page = await firstlight.scrape();
  expect(page.hasTotals).toBe(true);
  expect(sumOf(page, "coderd_workspace_creation_attempts_total")).toBe(1);
}

test("another process holds our slot and consumes nothing: we wait, take nothing from it, and go on without a gap", async () => {
  await scene({}, async (on) => {
    const { client, made } = on;
    await made.build({ job: JOBS.succeeded });
    await on.follow();
    {
      await using thief = await steal(on.place.url, on.slot, client);
      await on.inOne(() => made.build({ job: JOBS.failed }));
      await expectWaiting(on, thief.pid);
    }
    const page = await on.shown();
    expect(gaps(page)).toEqual({});
    expect(page.series.get("firstlight_baselines_total")).toBe(1);
    await expectSumsEqualRecount(client, page);
    await on.leave();
    await expectAccounted(client, on.statePath);
  });
});

test("another process holds our slot and consumes what we did not have: a gap once it has left, healed from the tables", async () => {
  await scene({}, async (on) => {
    const { client, made } = on;
    await made.build({ job: JOBS.succeeded });
    await on.follow();
    {
      await using thief = await steal(on.place.url, on.slot, client);
      await on.inOne(() => made.build({ job: JOBS.failed }));
      await thief.consume(await serverLsn(on.place.url));
    }
    await until(
      "the gap is found",
      async () => gaps(await on.firstlight.scrape())["slot_ahead"] === 1,
      RECOVERS_WITHIN_MS,
    );
    const page = await on.shown();
    expect(gaps(page)).toEqual({ slot_ahead: 1 });
    await expectSumsEqualRecount(client, page);
    await on.leave();
    await expectAccounted(client, on.statePath);
  });
});

test("two instances with slots and stores of their own show the same, also when one has healed a gap", async () => {
  await scene({}, async (on) => {
    const { client, made } = on;
    await made.build({ job: JOBS.succeeded });
    await on.follow();
    await using second = await startSecond(on);
    const work = async (): Promise<void> => {
      await made.agent((await on.inOne(() => made.build({ job: JOBS.succeeded }))).job, {
        connected: 42,
      });
      await on.inOne(() => made.build({ job: JOBS.failed, preset: made.large }));
    };
    await work();
    expect(totals(await second.caughtUp())).toEqual(totals(await on.shown()));
    await on.leave();
    await work();
    await client.query("select pg_drop_replication_slot($1)", [on.slot]);
    await on.follow();
    await work();
    const page = await on.shown();
    expect(gaps(page)).toEqual({ slot_missing: 1 });
    expect(totals(await second.caughtUp())).toEqual(totals(page));
    await expectSumsEqualRecount(client, page);
  });
});

async function startSecond({ place }: Scene): Promise<InProcess> {
  const second = await startInProcess({ url: place.url, slot: uniqueSlot() });
  await second.caughtUp();
  return second;
}

function totals({ series }: Scrape): Record<string, number> {
  return Object.fromEntries([...series].filter(([name]) => name.startsWith("coderd_")));
}
