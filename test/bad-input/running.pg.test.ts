// What goes wrong after the start: `serve` goes on showing the old totals, says what is wrong, tries again with back-off, and
// is exact again once it has been repaired.

import { writeFile } from "node:fs/promises";
import type pg from "pg";
import { expect, test } from "vitest";
import { type Simulation, openSimulation } from "../../src/demo/coder/simulation.ts";
import { must } from "../../src/errors.ts";
import { ownServer } from "../crash/support/own-server.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import {
  type InProcess,
  publish,
  startInProcess,
  uniqueSlot,
  until,
} from "../support/firstlight.ts";
import { type Scrape, sumOf, valueOf } from "../support/scrape.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;
/** The longest back-off, and what catching up takes. */
const RECOVERS_WITHIN_MS = 40_000;
const ALL_TIME = /^coderd_.*(_total|_bucket|_sum|_count|_in_flight)\{/;
const ATTEMPTS = "coderd_workspace_creation_attempts_total";

/** Where a deployment lives. */
interface Place {
  readonly url: string;
  client(): Promise<pg.Client>;
}

interface Scene {
  readonly firstlight: InProcess;
  readonly place: Place;
  readonly simulation: Simulation;
  readonly slot: string;
  /** What was shown before anything went wrong. */
  readonly before: Scrape;
}

/** A deployment with some history that is being followed. Afterwards the ledger must equal the tables, by id. */
async function follow(
  place: Place,
  options: { readonly seed: number; readonly as?: string },
  story: (scene: Scene) => Promise<void>,
): Promise<void> {
  await using folder = await temporaryFolder();
  const statePath = folder.path("firstlight.db");
  await using simulation = openSimulation({
    url: place.url,
    seed: options.seed,
    startAt: START_AT,
  });
  await simulation.seedDeployment();
  await simulation.run({ workflows: 15 });
  const slot = uniqueSlot();
  {
    const url = options.as ?? place.url;
    await using firstlight = await startInProcess({ url, statePath, slot });
    const before = await firstlight.caughtUp();
    await story({ firstlight, place, simulation, slot, before });
  }
  await expectLedgerEqualsTables(await place.client(), statePath, simulation);
}

function totals(scrape: Scrape): Record<string, number> {
  return Object.fromEntries([...scrape.series].filter(([name]) => ALL_TIME.test(name)));
}

/** Not following, for one of these reasons: said in the log, in metrics and status, with the old totals still shown. */
async function expectTrouble(
  { firstlight, before }: Scene,
  reasons: readonly string[],
): Promise<void> {
  const said = (): Record<string, unknown>[] =>
    firstlight.log
      .filter((line) => line.includes('"message":"not following, will try again"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  await until(
    `it has failed for ${reasons.join(" or ")}`,
    () => said().filter(({ reason }) => reasons.includes(String(reason))).length >= 2,
    RECOVERS_WITHIN_MS,
  );
  for (const { retryInMs, level, problem } of said()) {
    expect(level).toBe("warn");
    expect(problem).toMatch(/./);
    expect(retryInMs).toBeGreaterThanOrEqual(250);
  }
  const scrape = await firstlight.scrape();
  expect(totals(scrape)).toEqual(totals(before));
  expect(valueOf(scrape, "firstlight_ready")).toBe(1);
  expect(valueOf(scrape, "firstlight_stream_connected")).toBe(0);
  expect(valueOf(scrape, "firstlight_reconnects_total")).toBeGreaterThanOrEqual(2);
  expect((await firstlight.get("/readyz")).status).toBe(200);
  expect((await firstlight.get("/livez")).status).toBe(200);
  const status = (await (await firstlight.get("/api/status")).json()) as {
    state: string;
    trouble: { reason: string; message: string };
  };
  expect(status.state).toBe("not following");
  expect(reasons).toContain(status.trouble.reason);
  expect(await (await firstlight.get("/")).text()).toContain("not following");
}

/** Follows again, has counted what was missed, and says that all is well. */
async function expectExact({ firstlight, place, before }: Scene): Promise<Scrape> {
  await until(
    "it follows again",
    async () => valueOf(await firstlight.scrape(), "firstlight_stream_connected") === 1,
    RECOVERS_WITHIN_MS,
  );
  const after = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
  await expectSumsEqualRecount(await place.client(), after);
  expect(sumOf(after, ATTEMPTS)).toBeGreaterThan(sumOf(before, ATTEMPTS));
  expect(await (await firstlight.get("/api/status")).json()).toMatchObject({ trouble: null });
  return after;
}

/** Ends our sessions on the server, as an administrator would. */
async function disconnect(client: pg.Client): Promise<void> {
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'firstlight' and datname = current_database()`,
  );
}

async function gapHealed({ firstlight }: Scene, reason: string): Promise<void> {
  await until(
    `a gap was healed: ${reason}`,
    async () => {
      const { series } = await firstlight.scrape();
      return series.get(`firstlight_gaps_total{reason="${reason}"}`) === 1;
    },
    RECOVERS_WITHIN_MS,
  );
}

test("the server is stopped and started again: exact, and no gap", async () => {
  await using server = await ownServer();
  await follow(server, { seed: 1 }, async (scene) => {
    await server.stop("fast");
    await expectTrouble(scene, ["unreachable", "server_stopping", "connection_lost"]);
    await server.start();
    await scene.simulation.run({ workflows: 10 });
    const after = await expectExact(scene);
    expect(after.text).not.toContain("firstlight_gaps_total{");
  });
});

test("the server crashes and recovers: exact", async () => {
  await using server = await ownServer();
  await follow(server, { seed: 2 }, async (scene) => {
    await scene.simulation.run({ workflows: 10 });
    await scene.firstlight.caughtUp();
    await server.stop("immediate");
    await server.start();
    await scene.simulation.run({ workflows: 10 });
    await expectExact(scene);
  });
});

test("the password is changed, and changed back: the hint says what to check", async () => {
  await using server = await ownServer();
  const admin = await server.client();
  await admin.query("create role follower with login superuser password 'before'");
  const { rows } = await admin.query<{ hba_file: string }>("show hba_file");
  const rules = [
    "host all postgres 127.0.0.1/32 trust",
    "host all,replication all 127.0.0.1/32 scram-sha-256",
  ];
  await writeFile(must(rows[0], "hba_file").hba_file, `${rules.join("\n")}\n`);
  await admin.query("select pg_reload_conf()");
  const as = server.url.replace("postgres@", "follower:before@");
  await follow(server, { seed: 3, as }, async (scene) => {
    await admin.query("alter role follower password 'after'");
    await disconnect(admin);
    await expectTrouble(scene, ["authentication"]);
    const said = scene.firstlight.log.join("\n");
    expect(said).toContain("check the user name and the password in the database URL");
    expect(said).not.toContain("before@");
    await scene.simulation.run({ workflows: 10 });
    await admin.query("alter role follower password 'before'");
    await expectExact(scene);
  });
});

test("the publication is dropped and made again, with writes in between: a gap, healed from the tables", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  await follow(database, { seed: 4 }, async (scene) => {
    await client.query("drop publication firstlight");
    await scene.simulation.run({ workflows: 10 });
    await publish(client);
    // Nothing breaks by itself here: Postgres 18 silently skips what a missing publication does not publish.
    await gapHealed(scene, "publication_changed");
    const after = await expectExact(scene);
    expect(valueOf(after, "firstlight_baselines_total")).toBe(2);
  });
});

test("a listed column is dropped after its publication was: not followed until both are back", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  await follow(database, { seed: 5 }, async (scene) => {
    await client.query("drop publication firstlight");
    await client.query("alter table workspace_agents drop column disconnected_at");
    await expectTrouble(scene, ["requirements"]);
    const status = await (await scene.firstlight.get("/api/status")).json();
    expect(status).toMatchObject({
      trouble: { message: expect.stringContaining("table workspace_agents lacks disconnected_at") },
    });
    await client.query("alter table workspace_agents add column disconnected_at timestamptz");
    await scene.simulation.run({ workflows: 10 });
    await publish(client);
    await gapHealed(scene, "publication_changed");
    await expectExact(scene);
  });
});

test("the slot is dropped, with writes in between: a gap, healed from the tables", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  await follow(database, { seed: 6 }, async (scene) => {
    // Without a publication it can not be back before the slot is gone.
    await client.query("alter publication firstlight rename to elsewhere");
    await disconnect(client);
    await expectTrouble(scene, ["requirements"]);
    await client.query("select pg_drop_replication_slot($1)", [scene.slot]);
    await scene.simulation.run({ workflows: 10 });
    await client.query("alter publication elsewhere rename to firstlight");
    await gapHealed(scene, "slot_missing");
    await expectExact(scene);
    const { rows } = await client.query("select from pg_replication_slots where slot_name = $1", [
      scene.slot,
    ]);
    expect(rows).toHaveLength(1);
  });
});

test("somebody else moves the slot on: totals are hidden until they are whole again", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  await follow(database, { seed: 7 }, async (scene) => {
    await client.query("alter publication firstlight rename to elsewhere");
    await disconnect(client);
    await expectTrouble(scene, ["requirements"]);
    await scene.simulation.run({ workflows: 10 });
    await client.query("select pg_replication_slot_advance($1, pg_current_wal_lsn())", [
      scene.slot,
    ]);
    await client.query("alter publication elsewhere rename to firstlight");
    await gapHealed(scene, "slot_ahead");
    await expectExact(scene);
  });
});

test("the right to replicate is taken away, and given back", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  const role = `${database.name}_role`;
  await client.query(`create role ${role} login replication`);
  await client.query(`grant select on all tables in schema public to ${role}`);
  try {
    await follow(database, { seed: 8, as: database.urlAs(role) }, async (scene) => {
      await client.query(`alter role ${role} noreplication`);
      await disconnect(client);
      await expectTrouble(scene, ["requirements"]);
      await scene.simulation.run({ workflows: 10 });
      await client.query(`alter role ${role} replication`);
      await expectExact(scene);
    });
  } finally {
    await client.query(`drop owned by ${role}`);
    await client.query(`drop role ${role}`);
  }
});
