// Slots that are somebody's at the moment: held by another process, still being made, or moved while START is refused. What
// went wrong once, each against a real slot of a real server.

import type pg from "pg";
import { expect, test } from "vitest";
import { ZERO_LSN, formatLsn } from "../../src/lsn.ts";
import { Store } from "../../src/store/store.ts";
import { confirmedFlush } from "../crash/support/slots.ts";
import { startProxy } from "../faults/support/proxy.ts";
import { readsSlot } from "../faults/support/wire.ts";
import { steal } from "../faults/support/thief.ts";
import { gapsOf, troubleOf } from "../standby/support/site.ts";
import { expectSumsEqualRecount } from "../support/exact.ts";
import { type InProcess, publish, startInProcess, until } from "../support/firstlight.ts";
import { JOBS } from "../support/hand-made.ts";
import { CATALOG } from "../support/ledger.ts";
import { sumOf, valueOf } from "../support/scrape.ts";
import {
  RECOVERS_WITHIN_MS,
  type Scene,
  released,
  scene,
  sceneAlone,
  waitForTrouble,
} from "./support/scene.ts";

const timing = { backOffUpToMs: 200 };
/** More than there may be baselines in an hour. */
const MANY_ATTEMPTS = 8;

/** Leaves a store that has followed, and its slot. */
async function followOnce({ client, target }: Scene, env = {}): Promise<void> {
  {
    await using firstlight = await startInProcess({ ...target, env });
    await firstlight.caughtUp();
  }
  await released(client, target.slot);
}

async function triedManyTimes(firstlight: InProcess): Promise<void> {
  await until(
    "it has tried many times",
    async () => valueOf(await firstlight.scrape(), "firstlight_reconnects_total") > MANY_ATTEMPTS,
  );
}

/** A job ends while the publication does not tell how: an operator's mistake, mended again. */
async function endUntold(client: pg.Client, job: string): Promise<void> {
  await client.query("drop publication firstlight");
  await client.query(
    `create publication firstlight for table workspace_builds, workspace_agents,
       provisioner_jobs (id, created_at, updated_at, started_at, canceled_at, error, error_code, type, provisioner, initiator_id, worker_id)`,
  );
  await client.query("update provisioner_jobs set completed_at = now() where id = $1", [job]);
  await client.query("drop publication firstlight");
  await publish(client);
}

test("a baseline is due while somebody else holds the slot: the tables are not read before it is free", async () => {
  await scene(async (on) => {
    const { client, made, target } = on;
    const { job } = await made.build({ job: JOBS.running });
    await followOnce(on);
    await endUntold(client, job);
    await using thief = await steal(target.url, target.slot, client);
    await using firstlight = await startInProcess({ ...target, timing });
    await triedManyTimes(firstlight);
    expect((await troubleOf(firstlight)).reason).toBe("slot_in_use");
    expect(firstlight.log.filter((line) => line.includes("baseline begins"))).toEqual([]);
    await thief[Symbol.asyncDispose]();
    const page = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
    expect(gapsOf(page)).toEqual({ publication_changed: 1 });
    expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
    await expectSumsEqualRecount(client, page);
  });
});

test("reading is refused after a baseline over a valid slot: it stands at C, and what made the gap is not read", async () => {
  // Alone, so that what is read is what is written here.
  await sceneAlone(async (on) => {
    const { client, made, target } = on;
    const { job } = await made.build({ job: JOBS.running });
    await followOnce(on);
    await endUntold(client, job);
    const stood: string[] = [];
    let last = -1;
    await using proxy = await startProxy({
      port: Number(new URL(target.url).port),
      onMessage: async (message, link) => {
        // Where each reading begins: later bursts on the same connection go on from there.
        if (!readsSlot(message) || link.index === last) return message;
        last = link.index;
        stood.push(formatLsn(await confirmedFlush(client, target.slot)));
        if (stood.length === 1) link.set({ toServer: { kind: "cut", after: 0, how: "reset" } });
        return message;
      },
    });
    const url = proxy.url(target.url);
    {
      await using firstlight = await startInProcess({ ...target, url, timing });
      const page = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
      expect(gapsOf(page)).toEqual({ publication_changed: 1 });
      expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
      await expectSumsEqualRecount(client, page);
      // Where nothing is written there is nothing to read: the test passed only beside neighbours who wrote.
      await client.query("select pg_logical_emit_message(true, 'something', 'to read')");
      await until("it reads", () => stood.length > 1);
    }
    using store = Store.open({ path: target.statePath, catalog: CATALOG });
    const consistent = formatLsn(store.load().position?.consistent ?? ZERO_LSN);
    expect(stood).toEqual([consistent, consistent]);
  });
});

test("--baseline none while the slot is still being created: it is waited for, and counted from where it begins", async () => {
  await scene(async ({ database, client, made, target }) => {
    await made.build({ job: JOBS.succeeded });
    const writer = await database.client();
    await writer.query("begin; select pg_current_xact_id()");
    const operator = await database.client();
    const creating = operator.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [
      target.slot,
    ]);
    await until("it is being created", async () => {
      const { rows } = await client.query(
        "select from pg_replication_slots where slot_name = $1 and confirmed_flush_lsn is null",
        [target.slot],
      );
      return rows.length > 0;
    });
    const env = { FIRSTLIGHT_BASELINE: "none" };
    await using firstlight = await startInProcess({ ...target, env, timing });
    await waitForTrouble(firstlight, "slot_in_use");
    await writer.query("commit");
    await creating;
    await made.build({ job: JOBS.succeeded });
    const page = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
    expect(sumOf(page, "coderd_workspace_creation_attempts_total")).toBe(1);
    expect(gapsOf(page)).toEqual({});
  });
});

test("--temporary-slot while the slot of the last connection lingers: no baseline of the hour is spent on it", async () => {
  await scene(async (on) => {
    const { database, client, made, target } = on;
    const env = { FIRSTLIGHT_TEMPORARY_SLOT: "true" };
    await followOnce(on, env);
    await made.build({ job: JOBS.succeeded });
    const lingering = await database.client();
    await lingering.query("select pg_create_logical_replication_slot($1, 'pgoutput', true)", [
      target.slot,
    ]);
    await using firstlight = await startInProcess({ ...target, env, timing });
    await triedManyTimes(firstlight);
    expect((await troubleOf(firstlight)).reason).toBe("slot_in_use");
    await lingering.query("select pg_drop_replication_slot($1)", [target.slot]);
    const page = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
    expect(gapsOf(page)).toEqual({ temporary_slot: 1 });
    await expectSumsEqualRecount(client, page);
  });
});
