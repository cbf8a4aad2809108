// A reading that is stopped leaves no slot and no file, wherever it was; what it was stopped with is what it throws.

import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { manyAgents } from "../standby/support/many.ts";
import { ledgerFromSlot } from "../../src/pipeline/ledger-from-slot.ts";
import { ledgerFromTables } from "../../src/pipeline/ledger-from-tables.ts";
import { LedgerProgress } from "../../src/pipeline/ledger-progress.ts";
import type { LedgerOptions, TemporaryLedger } from "../../src/pipeline/temporary-ledger.ts";
import { until } from "../support/firstlight.ts";
import { factsIn, readingOf } from "./support/reading.ts";
import {
  type Files,
  type Scene,
  copiesOf,
  expectNoCopy,
  openScene,
  ownTemporaryFolder,
} from "./support/scene.ts";

let files: Files;
let scene: Scene;
beforeEach(async () => {
  files = await ownTemporaryFolder();
  scene = await openScene({ seed: 3, history: 10 });
  await manyAgents(scene.client);
});
afterEach(async () => {
  await scene[Symbol.asyncDispose]();
  await files[Symbol.asyncDispose]();
});

type Read = (options: LedgerOptions) => Promise<TemporaryLedger>;

/** Stops it as ^C does, as soon as it is that far. */
async function stopWhen(
  read: Read,
  far: (progress: LedgerProgress) => Promise<boolean> | boolean,
): Promise<void> {
  const stop = new AbortController();
  const why = new Error("stopped by SIGINT");
  const progress = new LedgerProgress();
  const reading = read(readingOf(scene.database.url, { progress, signal: stop.signal }));
  const ended = expect(reading).rejects.toBe(why);
  await until("it is that far", async () => far(progress));
  expect(await files.left(), "it has no file").toHaveLength(1);
  stop.abort(why);
  await ended;
  expect(await files.left()).toEqual([]);
  await expectNoCopy(scene.client, scene.parked);
}

const fromSlot: Read = (options) => ledgerFromSlot({ ...options, slot: scene.parked });

test("while the tables are read", async () => {
  await stopWhen(ledgerFromTables, ({ rows }) => rows.agents > 1_000);
  await until("nobody reads any more", async () => {
    const { rows } = await scene.client.query(
      "select from pg_stat_activity where state = 'active' and query ilike 'copy%' and datname = current_database()",
    );
    return rows.length === 0;
  });
});

test("while the slot is read", async () => {
  await stopWhen(fromSlot, async ({ slot }) => {
    return slot !== null && (await copiesOf(scene.client, scene.parked)) === 1;
  });
});

test("while the tables are read after the slot, when its copy is gone already", async () => {
  await stopWhen(fromSlot, async ({ rows }) => {
    if (rows.agents === 0) return false;
    expect(await copiesOf(scene.client, scene.parked)).toBe(0);
    return true;
  });
});

test("one that has ended leaves its file until it is disposed, for its owner alone", async () => {
  const { path, at } = await (async () => {
    await using ledger = await ledgerFromTables(readingOf(scene.database.url));
    expect(await files.left()).toHaveLength(1);
    expect((await stat(dirname(ledger.path))).mode & 0o777).toBe(0o700);
    expect([...factsIn(ledger.path)].length).toBeGreaterThan(60_000);
    return ledger;
  })();
  expect(at).toBeGreaterThan(0n);
  expect(path).toContain("firstlight-backfill-");
  expect(await files.left()).toEqual([]);
});
