// `serve --verify-every`: the same comparison by itself, beside following and scraping.

import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { FACT_KINDS, idToBytes } from "../../src/store/codec.ts";
import { startScraper } from "../crash/support/scraper.ts";
import { type InProcess, startInProcess, until } from "../support/firstlight.ts";
import { type Scene, meddle, openScene, temporarySlots } from "./support/scene.ts";

const DRIFT = /^firstlight_drift\{kind="(\w+)"\} (\d+)$/gm;

/** What is exported as drift, by kind; empty before the first. */
async function drift(firstlight: InProcess): Promise<Record<string, number>> {
  const { text } = await firstlight.scrape();
  return Object.fromEntries([...text.matchAll(DRIFT)].map(([, kind, n]) => [kind, Number(n)]));
}

function logged(firstlight: InProcess, message: string): Record<string, unknown>[] {
  return firstlight.log
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line["message"] === message);
}

const startOn = (scene: Scene, every: string): Promise<InProcess> =>
  startInProcess({ ...scene, env: { FIRSTLIGHT_VERIFY_EVERY: every } });

test("it is off by default, and nothing is exported before the first", async () => {
  await using scene = await openScene({ seed: 21, history: 5 });
  await using firstlight = await startInProcess(scene);
  const page = await firstlight.caughtUp();
  expect(page.text).not.toContain("firstlight_drift");
  expect(page.text).not.toContain("firstlight_verify_timestamp_seconds");
});

test("under load: no drift, again and again, while scrapes go on and totals never fall", async () => {
  await using scene = await openScene({ seed: 22, history: 30, divergent: true });
  await using firstlight = await startOn(scene, "1s");
  await firstlight.caughtUp();
  await using scraper = startScraper(() => firstlight.port);
  await scene.simulation.run({ workflows: 80 });
  await until(
    "it has verified three times",
    () => logged(firstlight, "verified").length >= 3,
    60_000,
  );
  expect(logged(firstlight, "ledger and tables disagree")).toEqual([]);
  expect(logged(firstlight, "not verified, will try again")).toEqual([]);
  expect(await drift(firstlight)).toEqual({ missing: 0, extra: 0, revised: 0, vanished: 0 });
  const page = await firstlight.caughtUp();
  const at = page.series.get("firstlight_verify_timestamp_seconds") ?? 0;
  expect(Math.abs(Date.now() / 1000 - at)).toBeLessThan(120);
  expect(page.series.get("firstlight_reconnects_total")).toBe(0);
  expect(scraper.wrong).toEqual([]);
  expect(scraper.withTotals).toBeGreaterThan(20);
});

test("drift is logged with its ids and exported, and not repaired", async () => {
  await using scene = await openScene({ seed: 23, history: 10 });
  await using firstlight = await startOn(scene, "1s");
  await firstlight.caughtUp();
  const id = randomUUID();
  meddle(scene.statePath, (db) =>
    db
      .prepare(
        "insert into fact (kind, id, at, end_lsn, names) select kind, ?, at, end_lsn, names from fact where kind = ? limit 1",
      )
      .run(idToBytes(id), FACT_KINDS.attempted),
  );
  const found = async (): Promise<boolean> => (await drift(firstlight))["vanished"] === 1;
  await until("it is found", found, 60_000);
  expect(logged(firstlight, "ledger and tables disagree")[0]).toMatchObject({
    level: "warn",
    drift: "vanished",
    fact: "attempted",
    id,
    tables: "nothing",
  });
  const runs = logged(firstlight, "verified").length;
  await until("again", () => logged(firstlight, "verified").length > runs, 60_000);
  expect(await found()).toBe(true);
});

test("a comparison that fails is logged and tried again; serve goes on", async () => {
  await using scene = await openScene({ seed: 24, history: 10 });
  const { client } = scene;
  await using firstlight = await startOn(scene, "1s");
  await firstlight.caughtUp();
  // Again and again: one that has read everything already does not notice.
  const failed = async (): Promise<boolean> => {
    await client.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and state = 'idle in transaction' and application_name = 'firstlight'`,
    );
    return logged(firstlight, "not verified, will try again").length > 0;
  };
  await until("its session is ended, and that is logged", failed, 60_000);
  await until("the next one succeeds", () => logged(firstlight, "verified").length > 0, 60_000);
  const page = await firstlight.caughtUp();
  expect(page.series.get("firstlight_reconnects_total")).toBe(0);
}, 180_000);

test("serve stops at once while it verifies, and leaves no temporary slot", async () => {
  await using scene = await openScene({ seed: 25, history: 10 });
  const firstlight = await startOn(scene, "1s");
  await firstlight.caughtUp();
  await until(
    "it verifies",
    async () => (await temporarySlots(scene.client, scene.slot)) === 1,
    60_000,
  );
  const began = performance.now();
  await firstlight[Symbol.asyncDispose]();
  expect(performance.now() - began).toBeLessThan(5_000);
  await firstlight.ended;
  await until("it is gone", async () => (await temporarySlots(scene.client, scene.slot)) === 0);
});
