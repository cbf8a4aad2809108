// `verify` beside a follower in the same process: finds nothing where nothing is wrong, however busy it is, and says what
// rows that were deleted by hand have to do with it.

import { expect, test } from "vitest";
import { must } from "../../src/errors.ts";
import { recountById } from "../support/recount.ts";
import { startInProcess, until } from "../support/firstlight.ts";
import { sumOf } from "../support/scrape.ts";
import { createSlot } from "../crash/support/slots.ts";
import { NO_DRIFT, meddle, openScene, temporarySlots } from "./support/scene.ts";

test.each([1, 2])("no drift right after the baseline and under load: seed %i", async (seed) => {
  await using scene = await openScene({ seed, history: 40, divergent: true });
  await using firstlight = await startInProcess(scene);
  await firstlight.caughtUp();
  const first = await scene.verify();
  expect(first).toMatchObject({ drift: NO_DRIFT, explained: 0, named: [] });
  expect(first.compared.attempted).toBe(first.rows.builds);
  expect(Math.min(...Object.values(first.compared))).toBeGreaterThan(0);

  const load = new AbortController();
  let verified = 0;
  // As long as it takes to be verified three times meanwhile, however slow the machine is.
  const traffic = (async () => {
    for (;;) {
      await scene.simulation.run({ workflows: 60 });
      if (verified >= 3 || load.signal.aborted) return;
    }
  })().finally(() => load.abort());
  while (!load.signal.aborted) {
    expect(await scene.verify()).toMatchObject({ drift: NO_DRIFT, named: [] });
    verified += 1;
  }
  await traffic;
  const last = await scene.verify();
  expect(last).toMatchObject({ drift: NO_DRIFT, named: [] });
  expect(last.compared.attempted).toBeGreaterThan(first.compared.attempted);
  // Reaped jobs that completed after all, overlapping connections: they are in the mix.
  expect(last.explained).toBeGreaterThan(0);
  expect(verified).toBeGreaterThan(2);
  expect(await temporarySlots(scene.client, scene.slot)).toBe(0);
});

test("rows deleted by hand: totals stay; what the stream saw is explained, the rest has vanished", async () => {
  await using scene = await openScene({ seed: 3, history: 30 });
  const { client } = scene;
  await using firstlight = await startInProcess(scene);
  const before = await firstlight.caughtUp();
  const { rows } = await client.query<{ build: string; job: string; agent: string }>(
    `select b.id as build, b.job_id as job, a.id as agent
     from workspace_builds b
     join workspace_resources r on r.job_id = b.job_id
     join workspace_agents a on a.resource_id = r.id and a.first_connected_at <= a.created_at + interval '20 seconds'
     where b.build_number = 1 and b.initiator_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0'
     limit 1`,
  );
  const late = sumOf(before, "firstlight_agents_connection_timeouts_total");
  expect(late).toBeGreaterThan(0);
  const { build, job, agent } = must(rows[0], "no first build with a connected agent");
  const starts = (await recountById(client)).ready.size;
  expect(starts).toBeGreaterThan(3);
  await client.query("delete from workspace_agents where id = $1", [agent]);
  await client.query("delete from workspace_builds where id = $1", [build]);
  const { rows: left } = await client.query<{ connected: number }>(
    `select count(*)::int as connected from workspace_agents a
     join workspace_resources r on r.id = a.resource_id
     join provisioner_jobs j on j.id = r.job_id and j.type = 'workspace_build'
     where a.first_connected_at is not null`,
  );
  const connected = must(left[0], "no count").connected;
  expect(connected).toBeGreaterThan(3);
  await client.query("truncate workspace_agents cascade");
  const after = await firstlight.caughtUp();
  for (const total of [
    "coderd_workspace_creation_attempts_total",
    "coderd_workspace_creation_outcomes_total",
    "coderd_agents_first_connection_seconds_count",
  ])
    expect(sumOf(after, total)).toBe(sumOf(before, total));

  const report = await scene.verify();
  expect(report.compared.connected).toBe(0);
  // The stream shows a deleted row's id.
  expect(explained(scene.log)).toEqual([`attempted ${build}`, `connected ${agent}`]);
  // It does not say that the build is gone whose job was started and ended, with which the workspace was created, and TRUNCATE
  // says no ids.
  expect(report).toMatchObject({
    explained: 2,
    drift: { ...NO_DRIFT, vanished: connected + starts + late + 3 },
  });
  expect(report.named.filter(({ kind }) => kind === "ended")).toMatchObject([
    { drift: "vanished", id: job, tables: null },
  ]);
});

function explained(log: readonly string[]): string[] {
  return log
    .map((line) => JSON.parse(line) as { message: string; fact: string; id: string })
    .filter(({ message }) => message.startsWith("the stream saw this row change"))
    .map(({ fact, id }) => `${fact} ${id}`)
    .sort();
}

test("a ledger that began at a slot lacks what came before, which is counted apart", async () => {
  await using scene = await openScene({ seed: 7, history: 10 });
  await createSlot(scene.client, scene.slot);
  await scene.simulation.run({ workflows: 20 });
  await using firstlight = await startInProcess({ ...scene, env: { FIRSTLIGHT_BASELINE: "none" } });
  await firstlight.caughtUp();
  const asBegun = await scene.verify({ config: { ...scene.config, baseline: "none" } });
  expect(asBegun).toMatchObject({ drift: NO_DRIFT, named: [] });
  expect(asBegun.before).toBeGreaterThan(0);
  const { compared } = asBegun;
  const all = Object.values(compared).reduce((sum, count) => sum + count, 0);
  expect(asBegun.before).toBeLessThan(all);
  const report = await scene.verify();
  expect(report.drift).toEqual({ ...NO_DRIFT, missing: asBegun.before });
});

test("a follower that stands still is not waited for for ever", async () => {
  await using scene = await openScene({ seed: 4, history: 5 });
  const client = scene.client;
  await using firstlight = await startInProcess(scene);
  await firstlight.caughtUp();
  // Without a publication it can not follow, and goes on trying.
  await client.query("alter publication firstlight rename to elsewhere");
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'firstlight' and datname = current_database()`,
  );
  await until("it no longer follows", async () => {
    const { rows } = await client.query(
      "select from pg_replication_slots where slot_name = $1 and not active",
      [scene.slot],
    );
    return rows.length === 1;
  });
  await expect(scene.verify({ stuckAfterMs: 500 })).rejects.toMatchObject({
    name: "Transient",
    reason: "not_following",
  });
  expect(await temporarySlots(client, scene.slot)).toBe(0);
});

test("a table that takes too long to read is given up", async () => {
  await using scene = await openScene({ seed: 6, history: 5 });
  await using firstlight = await startInProcess(scene);
  await firstlight.caughtUp();
  await expect(scene.verify({ readWithinMs: 1 })).rejects.toMatchObject({
    name: "Transient",
    reason: "canceled",
  });
  expect(await temporarySlots(scene.client, scene.slot)).toBe(0);
});

test("another system's tables are not compared", async () => {
  await using scene = await openScene({ seed: 5, history: 5 });
  await using firstlight = await startInProcess(scene);
  await firstlight.caughtUp();
  meddle(scene.statePath, (db) => db.exec("update position set system_id = '42'"));
  await expect(scene.verify()).rejects.toMatchObject({
    name: "NeedsOperator",
    reason: "system_changed",
  });
});
