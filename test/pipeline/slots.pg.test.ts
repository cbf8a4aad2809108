// What we do to slots: none is left that nobody watches, none is dropped that is not ours, and one that holds back too much is
// dropped also while something else is wrong. What went wrong once, each against a real slot of a real server.

import { join } from "node:path";
import type pg from "pg";
import { expect, test } from "vitest";
import { serve } from "../../src/commands/serve.ts";
import { parseConfig } from "../../src/config.ts";
import { createLog } from "../../src/log.ts";
import { confirmedFlush, createSlot } from "../crash/support/slots.ts";
import { gapsOf, troubleOf } from "../standby/support/site.ts";
import { expectSumsEqualRecount } from "../support/exact.ts";
import {
  type InProcess,
  publish,
  startInProcess,
  uniqueSlot,
  until,
} from "../support/firstlight.ts";
import { JOBS } from "../support/hand-made.ts";
import { valueOf } from "../support/scrape.ts";
import { mountable, smallDisk } from "../support/small-disk.ts";
import {
  RECOVERS_WITHIN_MS,
  type Scene,
  cut,
  released,
  scene,
  sceneAlone,
  slotsHere,
  waitForTrouble,
  writeFiller,
} from "./support/scene.ts";

/** In bytes. */
const LAG = 1_000_000;
const env = { FIRSTLIGHT_MAX_SLOT_LAG: `${LAG}` };
const timing = { backOffUpToMs: 500 };
const STOPS_WITHIN_MS = 10_000;

if (!mountable)
  process.stderr.write("SKIPPED: a slot left by a full disk (only root can mount a small one)\n");

/** A snapshot waits for this transaction, which ends with the database at the latest. */
async function openTransaction({ database }: Scene): Promise<pg.Client> {
  const writer = await database.client();
  await writer.query("begin; select pg_current_xact_id()");
  return writer;
}

test("--max-slot-lag holds while a requirement is not met: the slot is dropped, and healed once it is", async () => {
  // Alone: a neighbour's WAL may be more than the limit at any time.
  await sceneAlone(async ({ client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    await using firstlight = await startInProcess({ ...target, env, timing });
    await firstlight.caughtUp();
    await client.query("drop publication firstlight");
    await cut(client, target.slot);
    await waitForTrouble(firstlight, "requirements");
    await made.build({ job: JOBS.failed });
    await writeFiller(client);
    await until("the slot is dropped", async () => (await slotsHere(client)).length === 0);
    await publish(client);
    const page = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
    expect(gapsOf(page)).toEqual({ slot_lag: 1 });
    await expectSumsEqualRecount(client, page);
  });
});

test("a slot that the store did not follow is never dropped, however much it holds back", async () => {
  await scene(async ({ client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    {
      await using firstlight = await startInProcess(target);
      await firstlight.caughtUp();
    }
    const theirs = uniqueSlot();
    const stood = await createSlot(client, theirs);
    await writeFiller(client);
    await using firstlight = await startInProcess({
      ...target,
      slot: theirs,
      env: { ...env, FIRSTLIGHT_ON_GAP: "halt" },
    });
    await waitForTrouble(firstlight, "halted");
    expect(gapsOf(await firstlight.scrape())).toEqual({ slot_changed: 1 });
    expect(await confirmedFlush(client, theirs)).toBe(stood);
  });
});

test("totals that are hidden because the slot is ahead stay hidden when that slot is dropped", async () => {
  // Alone: WAL of a neighbour made it lag before it was seen to be ahead.
  await sceneAlone(async ({ client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    {
      await using firstlight = await startInProcess(target);
      await firstlight.caughtUp();
    }
    await made.build({ job: JOBS.succeeded });
    await released(client, target.slot);
    await client.query("select pg_replication_slot_advance($1, pg_current_wal_lsn())", [
      target.slot,
    ]);
    await using firstlight = await startInProcess({
      ...target,
      timing,
      env: { ...env, FIRSTLIGHT_ON_GAP: "halt" },
    });
    await waitForTrouble(firstlight, "halted");
    expect((await firstlight.scrape()).hasTotals).toBe(false);
    await writeFiller(client);
    await until("it finds no slot", async () =>
      (await troubleOf(firstlight)).message.includes("there is no slot"),
    );
    const page = await firstlight.scrape();
    expect(page.hasTotals).toBe(false);
    expect(gapsOf(page)).toEqual({ slot_ahead: 1 });
  });
});

test("a slot that lags when it is adopted is worked off: no gap, and the tables are read once", async () => {
  // Alone: a neighbour's WAL may be more than the limit between the look at the slot and the cut.
  await sceneAlone(async (on) => {
    const { client, made, target } = on;
    await made.build({ job: JOBS.succeeded });
    await createSlot(client, target.slot);
    // So much that it is still being read when we look at the slot first.
    for (let i = 0; i < 10; i += 1) await writeFiller(client);
    await using firstlight = await startInProcess({ ...target, env, timing });
    await expectWorkedOff(on, firstlight);
  });
});

test("WAL that is written while the first snapshot is waited for: no gap, and the tables are read once", async () => {
  // Alone: a neighbour's WAL may be more than the limit between the look at the slot and the cut.
  await sceneAlone(async (on) => {
    const writer = await openTransaction(on);
    await using firstlight = await startInProcess({ ...on.target, env, timing });
    await waitForTrouble(firstlight, "waiting_for_snapshot");
    await writeFiller(on.client);
    await writer.query("commit");
    await expectWorkedOff(on, firstlight);
  });
});

/** Coder inserts a job and its build together. */
async function inOne(client: pg.Client, work: () => Promise<unknown>): Promise<void> {
  await client.query("begin");
  await work();
  await client.query("commit");
}

/** Follows until the slot holds back less than its limit, and once more on another connection. */
async function expectWorkedOff(
  { client, made, target }: Scene,
  firstlight: InProcess,
): Promise<void> {
  await firstlight.caughtUp();
  await until(
    "the slot is worked off",
    async () => {
      // A slot lets go of WAL when such a record is acknowledged: the server writes one every 15 s, and we acknowledge news.
      await client.query("select pg_log_standby_snapshot()");
      await inOne(client, () => made.build({ job: JOBS.failed }));
      const { rows } = await client.query(
        "select from pg_replication_slots where slot_name = $1 and pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) < $2",
        [target.slot, LAG],
      );
      return rows.length > 0;
    },
    RECOVERS_WITHIN_MS,
  );
  await cut(client, target.slot);
  await inOne(client, () => made.build({ job: JOBS.succeeded }));
  const page = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
  expect(gapsOf(page)).toEqual({});
  expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
  await expectSumsEqualRecount(client, page);
}

test.skipIf(!mountable)(
  "the disk is full when the first baseline commits: no slot is left that nobody knows of",
  async () => {
    using disk = smallDisk();
    if (!disk) throw new Error("it could be mounted a moment ago");
    const statePath = join(disk.folder, "firstlight.db");
    await scene(async (on) => {
      const { client, made, target } = on;
      await made.build({ job: JOBS.succeeded });
      {
        const writer = await openTransaction(on);
        await using firstlight = await startInProcess({ ...target, statePath, timing });
        await waitForTrouble(firstlight, "waiting_for_snapshot");
        await disk.fill(0);
        await writer.query("commit");
        await waitForTrouble(firstlight, "store");
      }
      await until("no slot is left", async () => (await slotsHere(client)).length === 0);
      await disk.clear();
      await using firstlight = await startInProcess({ ...target, statePath });
      await expectSumsEqualRecount(client, await firstlight.caughtUp());
    });
  },
);

test("a stop that comes just before the snapshot does not wait for the transactions that it would wait for", async () => {
  await scene(async (on) => {
    const { client, target } = on;
    const writer = await openTransaction(on);
    const stop = new AbortController();
    const log = createLog({
      level: "info",
      format: "json",
      write: (line) => {
        if (line.includes("beginning from the tables")) stop.abort();
      },
    });
    const config = parseConfig({
      flags: {},
      env: {
        FIRSTLIGHT_DATABASE_URL: target.url,
        FIRSTLIGHT_SLOT: target.slot,
        FIRSTLIGHT_STATE: target.statePath,
        FIRSTLIGHT_LISTEN: "127.0.0.1:0",
      },
      readFile: () => "",
    });
    let stopped = false;
    const ended = serve({ config, log, version: "test", signal: stop.signal });
    ended.then(() => (stopped = true)).catch(() => undefined);
    try {
      await until("it has stopped", () => stopped, STOPS_WITHIN_MS);
    } finally {
      await writer.query("commit");
      await ended;
    }
    expect(await slotsHere(client)).toEqual([]);
  });
});
