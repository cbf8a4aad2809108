// SIGKILL in the middle of a baseline of some size: the store stays empty, no permanent slot stays behind, and the next
// start begins as if nothing had been.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type pg from "pg";
import { ZERO_LSN } from "../../src/lsn.ts";
import { createDatabase } from "../support/database.ts";
import {
  expectLabelsEqualRecount,
  expectLedgerEqualsTables,
  expectSumsEqualRecount,
} from "../support/exact.ts";
import { publish, startProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import { readLedger } from "../support/ledger.ts";
import { valueOf } from "../support/scrape.ts";
import { temporaryFolder } from "./support/folder.ts";
import { report } from "./support/report.ts";
import { storedEnd } from "./support/stored.ts";
import { type Target, spawnServe } from "./support/victim.ts";

/** Enough for a second or so of reading. */
const AGENTS = 60_000;

test("killed while it reads the tables: no fact, no permanent slot, and the next start is clean", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  const made = await manyAgents(client);
  const target = { url: database.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  for (const later of [0, 50, 200]) {
    await killedOnce(target, async () => {
      await until("the tables are read", async () => isReading(client));
      await sleep(later);
      expect(await permanentSlots(client), "not killed in time").toEqual([]);
    });
    await until("the temporary slot is gone", async () => {
      const { rows } = await client.query(
        "select from pg_replication_slots where database = current_database()",
      );
      return rows.length === 0;
    });
    expect(storedEnd(target.statePath)).toBe(ZERO_LSN);
    expect(readLedger(target.statePath).facts).toEqual([]);
  }
  await expectCleanStart(client, target, made);
});

test("killed when its slot has just been made: the next start finds it and uses it", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  const made = await manyAgents(client);
  const target = { url: database.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  await killedOnce(target, async () => {
    // The server itself watches: the slot is made a moment before the store commits.
    await client.query(`do $$ begin
      for tries in 1 .. 40000 loop
        exit when exists (select from pg_replication_slots
                          where database = current_database() and not temporary);
        perform pg_sleep(0.0005);
      end loop; end $$`);
  });
  report("killed when the slot had been made", {
    store: storedEnd(target.statePath) === ZERO_LSN ? "empty" : "complete",
  });
  expect(await permanentSlots(client)).toEqual([target.slot]);
  await expectCleanStart(client, target, made);
});

/** Starts it on the empty store and kills it at the moment given. */
async function killedOnce(target: Target, moment: () => Promise<void>): Promise<void> {
  await using victim = spawnServe(target);
  await moment();
  await victim.kill();
  expect(await victim.ended, victim.log.join("\n")).toBe("SIGKILL");
}

/** With rows that came while nobody followed, and rows that come afterwards. */
async function expectCleanStart(client: pg.Client, target: Target, made: HandMade): Promise<void> {
  await inOneTransaction(client, async () => made.build({ job: JOBS.failed }));
  {
    await using firstlight = await startProcess(target);
    await firstlight.caughtUp();
    await inOneTransaction(client, async () =>
      made.build({ job: JOBS.canceledWhilePending, preset: made.large }),
    );
    const page = await firstlight.caughtUp();
    await expectSumsEqualRecount(client, page);
    await expectLabelsEqualRecount(client, page);
    expect(valueOf(page, 'firstlight_in_flight{kind="build"}')).toBe(0);
    expect(await permanentSlots(client)).toEqual([target.slot]);
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedgerEqualsTables(client, target.statePath);
}

/** A job and its build, as Coder inserts them: never the one without the other. */
async function inOneTransaction(client: pg.Client, write: () => Promise<unknown>): Promise<void> {
  await client.query("begin");
  await write();
  await client.query("commit");
}

/** One build whose resource has very many agents that connected: a few series, many facts. */
async function manyAgents(client: pg.Client): Promise<HandMade> {
  const made = await HandMade.on(client);
  const { job } = await made.build({ job: JOBS.succeeded, preset: made.large });
  await made.agent(job, { connected: 42 });
  // Coder's trigger wants another name for each agent of a build, which would be a series for each.
  await client.query("set session_replication_role = replica");
  await client.query(
    `insert into workspace_agents (id, created_at, updated_at, name, first_connected_at, resource_id,
       auth_token, architecture, operating_system)
     select gen_random_uuid(), created_at, updated_at, name, first_connected_at + n * interval '1 millisecond',
       resource_id, gen_random_uuid(), architecture, operating_system
     from workspace_agents, generate_series(1, $1) as n`,
    [AGENTS],
  );
  await client.query("reset session_replication_role");
  return made;
}

async function isReading(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(
    `select from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and query ilike 'copy%'`,
  );
  return rows.length > 0;
}

async function permanentSlots(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ slot_name: string }>(
    "select slot_name from pg_replication_slots where database = current_database() and not temporary",
  );
  return rows.map(({ slot_name }) => slot_name);
}
