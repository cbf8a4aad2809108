// One deployment, three ways to its history: a store that followed, the tables, and a slot that was parked. They tell the same facts.

import { expect, test } from "vitest";
import type { Simulation } from "../../src/demo/coder/simulation.ts";
import { ZERO_LSN } from "../../src/lsn.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { STREAMING, startInProcess, uniqueSlot } from "../support/firstlight.ts";
import { readLedger } from "../support/ledger.ts";
import { valueOf } from "../support/scrape.ts";
import {
  type Facts,
  type Scene,
  byId,
  factsFromSlot,
  factsFromTables,
  isToldByTime,
  openScene,
  placeOf,
  told,
} from "./support/scene.ts";

const SEEDS = Number(process.env["FIRSTLIGHT_TEST_SEEDS"] ?? 3);
const WORKFLOWS = 60;

/** Names of today are not those of the first look where something was renamed; a claim renames, too. */
const NAMES = ["names", "workspace"];
const NAMED: readonly (keyof Simulation["workflows"])[] = [
  "createRegular",
  "createFails",
  "createFailsWithCode",
  "createFailsThenStarts",
  "cancelPending",
  "cancelRunning",
  "cancelRunningButBuilt",
  "reapPending",
  "reapHung",
  "staysPending",
  "staysRunning",
  "stop",
  "start",
  "update",
  "restart",
  "remove",
  "orphanDelete",
  "fillPool",
  "prebuildFails",
  "deletePrebuild",
  "publishVersion",
  "importFails",
  "dryRun",
  "connectsBeforeCreation",
  "dynamicSubAgent",
];

/** Follows from the parked slot on while `work` is done, and gives the ledger that came of it. */
async function followed({ database }: Scene, work: () => Promise<void>): Promise<Facts> {
  await using folder = await temporaryFolder();
  const statePath = folder.path("firstlight.db");
  {
    await using firstlight = await startInProcess({ url: database.url, statePath });
    await firstlight.caughtUp();
    await work();
    await firstlight.caughtUp();
  }
  return byId(readLedger(statePath).facts);
}

for (let seed = 1; seed <= SEEDS; seed += 1) {
  const history = seed % 2 === 0 ? 40 : 0;
  test(`seed ${seed}: the full mix, with a history of ${history} workflows before the slot`, async () => {
    await using scene = await openScene({ seed, history });
    const { database, client, parked, simulation } = scene;
    const live = await followed(scene, async () => simulation.run({ workflows: WORKFLOWS }));
    const before = await placeOf(client, parked);
    const slot = await factsFromSlot(database.url, parked);
    const tables = await factsFromTables(database.url);
    const left = await leftToTables(scene);
    if (history === 0) expect(left).toEqual([]);
    else expect(left.length).toBeGreaterThan(50);
    expect(told(slot)).toEqual(told(tables));
    expect(told(live, NAMES)).toEqual(told(tables, NAMES));
    expect(await placeOf(client, parked)).toEqual(before);

    expect(told(await factsFromSlot(database.url, parked))).toEqual(told(slot));
    expect(told(await factsFromTables(database.url))).toEqual(told(tables));
  });
}

test("where nothing was renamed the names are the same, too", async () => {
  await using scene = await openScene({ seed: 7, history: 0 });
  const { database, parked, simulation } = scene;
  const live = await followed(scene, async () => {
    for (const name of NAMED) await simulation.workflows[name]();
  });
  const tables = await factsFromTables(database.url);
  expect(told(live)).toEqual(told(tables));
  expect(told(await factsFromSlot(database.url, parked))).toEqual(told(tables));
});

test("a slot tells what was first, as a store does, also where the tables say otherwise by now", async () => {
  await using scene = await openScene({ seed: 5, history: 0, divergent: true });
  const { database, client, parked, simulation } = scene;
  const live = await followed(scene, async () => {
    await simulation.run({ workflows: WORKFLOWS });
    for (const name of ["reapedThenCompletes", "completesTwice", "overlappingConnections"] as const)
      await simulation.workflows[name]();
    await deleteSomeRows(scene);
  });
  const slot = await factsFromSlot(database.url, parked);
  const tables = await factsFromTables(database.url);
  expect(told(slot, NAMES)).toEqual(told(live, NAMES));
  expect(told(tables, NAMES)).not.toEqual(told(live, NAMES));
  expect(slot.size).toBeGreaterThan(tables.size);
  const { rows } = await client.query("select from workspace_agents");
  expect(
    [...tables.values()].filter(({ kind }) => kind === "connected").length,
  ).toBeLessThanOrEqual(rows.length);
});

test.each([false, true])(
  "more WAL than is read at once (a transaction open all the while: %s) tells the same",
  async (pinned) => {
    await using scene = await openScene({ seed: 13, history: 0 });
    const { database, client, parked, simulation } = scene;
    const writer = await database.client();
    await writer.query("begin");
    if (pinned) await writer.query("select pg_current_xact_id()");
    for (let i = 0; i < 4; i += 1) {
      await simulation.run({ workflows: 10 });
      await client.query(
        "select pg_logical_emit_message(false, 'filler', repeat('x', 1000000)) from generate_series(1, 50)",
      );
    }
    await writer.query("commit");
    const before = await placeOf(client, parked);
    const slot = await factsFromSlot(database.url, parked);
    expect(await leftToTables(scene)).toEqual([]);
    expect(told(slot)).toEqual(told(await factsFromTables(database.url)));
    expect(await placeOf(client, parked)).toEqual(before);
  },
);

/** What was left to the tables to tell, by kind: they have one position for all, and the last one there is. */
async function leftToTables({ client, database, parked }: Scene): Promise<readonly string[]> {
  // So that no transaction ends where the tables are read.
  await client.query("select pg_logical_emit_message(false, 'after all', '', true)");
  const all = await factsFromSlot(database.url, parked);
  const facts = [...all.values()].filter((fact) => !isToldByTime(all, fact));
  const last = facts.reduce((end, fact) => (fact.end > end ? fact.end : end), ZERO_LSN);
  expect(facts.filter(({ end }) => end < last).length).toBeGreaterThan(100);
  const left = facts.filter(({ end, kind }) => end === last && !OF_TEMPLATES.has(kind));
  return left.map(({ kind, id }) => `${kind} ${id}`);
}

/** The deployment is seeded before the slot is made, and templates may be built from then on. */
const OF_TEMPLATES: ReadonlySet<string> = new Set(["offered", "started", "ran"]);

async function isHeld(client: Scene["client"], slot: string): Promise<boolean> {
  const { rows } = await client.query<{ active: boolean }>(
    "select active from pg_replication_slots where slot_name = $1",
    [slot],
  );
  return rows[0]?.active === true;
}

/** By hand: Coder does not. */
async function deleteSomeRows({ client }: Scene): Promise<void> {
  const { rowCount } = await client.query(
    `delete from workspace_agents where id in
       (select id from workspace_agents where first_connected_at is not null and parent_id is null order by id limit 3)`,
  );
  expect(rowCount).toBe(3);
}

test.each([
  ["bursts", {}],
  ["a stream", STREAMING],
] as const)("who follows by %s notices nothing of a reading of its own slot", async (_, env) => {
  await using scene = await openScene({ seed: 11, history: 30 });
  const { database, client, simulation } = scene;
  await using folder = await temporaryFolder();
  const target = {
    url: database.url,
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
    env,
  };
  {
    await using firstlight = await startInProcess(target);
    const first = await firstlight.caughtUp();
    if (env === STREAMING) expect(await isHeld(client, target.slot)).toBe(true);
    const traffic = simulation.run({ workflows: 80 });
    for (let i = 0; i < 3; i += 1) {
      // Its own: what it has not acknowledged is all that this slot has to tell.
      await factsFromSlot(database.url, target.slot);
      await factsFromSlot(database.url, scene.parked);
      await factsFromTables(database.url);
    }
    await traffic;
    const last = await firstlight.caughtUp();
    expect(valueOf(last, "firstlight_reconnects_total")).toBe(0);
    expect(last.text).not.toMatch(/^firstlight_gaps_total\{.*\} [1-9]/m);
    expect(valueOf(last, "firstlight_baselines_total")).toBe(1);
    expect(valueOf(last, 'firstlight_facts_total{fact="attempted"}')).toBeGreaterThan(
      valueOf(first, 'firstlight_facts_total{fact="attempted"}'),
    );
    expect(firstlight.log.filter((line) => line.includes("not following"))).toEqual([]);
  }
  const live = byId(readLedger(target.statePath).facts);
  expect(told(live, NAMES)).toEqual(told(await factsFromTables(database.url), NAMES));
  const { rows } = await client.query(
    "select from pg_replication_slots where temporary and database = current_database()",
  );
  expect(rows).toEqual([]);
});
