// A baseline of a deployment with years of history: exact, flat in memory, and within three times what the server alone
// takes to give the rows away. By default a twentieth of the size that this is promised for; FIRSTLIGHT_TEST_SCALE=1 is that
// size (100,000 workspaces, 1,000,000 builds, 500,000 agents; five minutes, 4 GB of disk), and only there is time asserted.

import { statSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type pg from "pg";
import { ZERO_LSN } from "../../src/lsn.ts";
import { AGENTS, BUILDS, READING_SETTINGS } from "../../src/postgres/tables.ts";
import { type Folder, temporaryFolder } from "../crash/support/folder.ts";
import { report } from "../crash/support/report.ts";
import { storedEnd } from "../crash/support/stored.ts";
import { type Target, spawnServe } from "../crash/support/victim.ts";
import {
  expectLabelsEqualRecount,
  expectLedgerEqualsTables,
  expectSumsEqualRecount,
} from "../support/exact.ts";
import { startProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { valueOf } from "../support/scrape.ts";
import { type Deployment, openDeployment } from "./deployment.ts";
import { askUntil, copySeconds, peakMebibytes, secondsBetween } from "./observe.ts";

const SCALE = Number(process.env["FIRSTLIGHT_TEST_SCALE"] ?? 0.05);
const WORKSPACES = Math.round(100_000 * SCALE);
const FULL = SCALE >= 1;
const TIMEOUT = FULL ? 900_000 : 120_000;

const BEGINS = "baseline begins, waiting for open transactions to end";
const COMPLETE = "baseline complete";
const MOST_MEBIBYTES = 400;
const MOST_COPIES = 3;
const STOPS_WITHIN_MS = 5_000;
/** What SQLite keeps of its write-ahead file between commits. */
const MOST_LEFT_OVER = 8 << 20;

let deployment: Deployment;
let folder: Folder;
beforeAll(async () => {
  folder = await temporaryFolder();
  deployment = await openDeployment(WORKSPACES);
}, TIMEOUT);
afterAll(async () => {
  await deployment?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

const targetOf = (name: string): Target => ({
  url: deployment.url,
  slot: uniqueSlot(),
  statePath: folder.path(name),
});

test("the tables are read without a sort and without an aggregate, by one backend", async () => {
  const { client } = deployment;
  await client.query("begin");
  await client.query(READING_SETTINGS);
  for (const query of [BUILDS, AGENTS]) {
    const { rows } = await client.query<{ "QUERY PLAN": string }>(`explain ${query}`);
    const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
    expect(plan).toMatch(/Hash (Left |Right )?Join/);
    expect(plan).not.toMatch(/Sort|Aggregate|Group|Unique|Gather/);
  }
  await client.query("rollback");
});

test(
  "a first baseline is exact, flat in memory and quick; one over what is known adds nothing",
  { timeout: TIMEOUT },
  async () => {
    const { client } = deployment;
    const target = targetOf("exact.db");
    await firstBaseline(target);
    if (!FULL) await expectLedgerEqualsTables(client, target.statePath);
    await client.query("select pg_drop_replication_slot($1)", [target.slot]);
    await baselineOverKnown(target);
    await client.query("select pg_drop_replication_slot($1)", [target.slot]);
  },
);

async function firstBaseline(target: Target): Promise<void> {
  const { client } = deployment;
  await copySeconds(client);
  const before = await copySeconds(client);
  await using firstlight = await startProcess(target);
  const asked = await askUntil(firstlight, () => says(firstlight.log, COMPLETE));
  const peak = peakMebibytes(firstlight.pid);
  const copy = (before + (await copySeconds(client))) / 2;
  const baseline = secondsBetween(firstlight.log, BEGINS, COMPLETE);
  report(`baseline of ${WORKSPACES} workspaces`, {
    "baseline in s": baseline.toFixed(2),
    "COPY in s": copy.toFixed(2),
    ratio: (baseline / copy).toFixed(2),
    "COPY with parallel workers in s": (await copySeconds(client, "select")).toFixed(2),
    "peak RSS in MiB": peak,
    "slowest answer in ms": asked.slowestMs,
    answers: asked.answers,
    "store in MiB": Math.round(bytesOf(target.statePath) / (1 << 20)),
  });
  expect(peak).toBeLessThan(MOST_MEBIBYTES);
  if (FULL) expect(baseline / copy).toBeLessThanOrEqual(MOST_COPIES);
  expect(asked.states).toContain("reading the tables");
  expect(asked.rows["workspace_builds"]).toBeGreaterThan(0);

  const page = await firstlight.caughtUp(TIMEOUT);
  expect(bytesOf(`${target.statePath}-wal`)).toBeLessThan(MOST_LEFT_OVER);
  expect(page.text).not.toContain("firstlight_baseline_rows{");
  expect(valueOf(page, 'firstlight_in_flight{kind="build"}')).toBeGreaterThan(0);
  await expectSumsEqualRecount(client, page);
  if (!FULL) await expectLabelsEqualRecount(client, page);
  expect(await firstlight.terminate()).toBe(0);
}

/** Nothing is new, nothing differs, no total changes. */
async function baselineOverKnown(target: Target): Promise<void> {
  await using firstlight = await startProcess(target);
  await until("it is complete", () => says(firstlight.log, COMPLETE), TIMEOUT);
  const peak = peakMebibytes(firstlight.pid);
  report("baseline over what is known", {
    "baseline in s": secondsBetween(firstlight.log, BEGINS, COMPLETE).toFixed(2),
    "peak RSS in MiB": peak,
  });
  expect(peak).toBeLessThan(MOST_MEBIBYTES);
  const page = await firstlight.caughtUp(TIMEOUT);
  expect(valueOf(page, 'firstlight_gaps_total{reason="slot_missing"}')).toBe(1);
  expect(valueOf(page, 'firstlight_divergent_ids{kind="connected"}')).toBe(0);
  await expectSumsEqualRecount(deployment.client, page);
  expect(await firstlight.terminate()).toBe(0);
}

test(
  "SIGTERM while the tables are read: it stops in time, leaves no slot and no fact",
  { timeout: TIMEOUT },
  async () => {
    const { client } = deployment;
    const target = targetOf("stopped.db");
    await using victim = spawnServe(target);
    await until("the tables are read", async () => isReading(client), TIMEOUT);
    const began = performance.now();
    process.kill(victim.pid, "SIGTERM");
    expect(await victim.ended, victim.log.join("\n")).toBe(0);
    const milliseconds = Math.round(performance.now() - began);
    report("SIGTERM while the tables are read", { milliseconds });
    expect(says(victim.log, "the tables are read"), "not stopped in time").toBe(false);
    expect(milliseconds).toBeLessThan(STOPS_WITHIN_MS);
    await until("no slot is left", async () => {
      const { rows } = await client.query(
        "select from pg_replication_slots where slot_name like $1 || '%'",
        [target.slot],
      );
      return rows.length === 0;
    });
    await until("nobody reads any more", async () => !(await isReading(client)));
    expect(storedEnd(target.statePath)).toBe(ZERO_LSN);
  },
);

const says = (log: readonly string[], message: string): boolean =>
  log.some((line) => line.includes(`"message":"${message}"`));

const bytesOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

async function isReading(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(
    "select from pg_stat_activity where pid <> pg_backend_pid() and state = 'active' and query ilike 'copy%'",
  );
  return rows.length > 0;
}
