// A ledger of a deployment with history, from its tables and from a slot: the right number of facts, in little memory. By default a tenth
// of the size that is promised; FIRSTLIGHT_TEST_SCALE=1 is that size (100,000 builds and 50,000 agents; two minutes).

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { report } from "../crash/support/report.ts";
import { type Deployment, openDeployment } from "../scale/deployment.ts";
import { copySeconds } from "../scale/observe.ts";
import { outsideEnvironment } from "../support/firstlight.ts";
import { NODE_FLAGS } from "../support/node-flags.ts";
import { park } from "./support/scene.ts";

const SCALE = Number(process.env["FIRSTLIGHT_TEST_SCALE"] ?? 0.1);
const WORKSPACES = Math.round(10_000 * SCALE);
const BUILDS = WORKSPACES * 10;
const TIMEOUT = 600_000;
const MOST_MEBIBYTES = 300;

const run = promisify(execFile);
const SCRIPT = new URL("support/measured.ts", import.meta.url).pathname;

interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly mebibytes: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly shown: readonly string[];
}

let deployment: Deployment;
beforeAll(async () => {
  deployment = await openDeployment(WORKSPACES);
}, TIMEOUT);
afterAll(async () => {
  await deployment?.[Symbol.asyncDispose]();
});

async function measure(what: string, slot?: string): Promise<Measured> {
  const { client, url } = deployment;
  const before = await copySeconds(client);
  const args = [...NODE_FLAGS, SCRIPT, url, ...(slot === undefined ? [] : [slot])];
  const { stdout } = await run(process.execPath, args, { env: outsideEnvironment() });
  const copy = (before + (await copySeconds(client))) / 2;
  const measured = JSON.parse(stdout) as Measured;
  const { seconds, cpuSeconds, mebibytes, shown } = measured;
  report(`a ledger from ${what}, ${BUILDS} builds`, {
    "in s": seconds.toFixed(2),
    "CPU in s": cpuSeconds.toFixed(2),
    "COPY in s": copy.toFixed(2),
    ratio: (seconds / copy).toFixed(2),
    "peak RSS in MiB": mebibytes,
    shown: JSON.stringify(shown.filter((line) => line !== "").slice(-2)),
  });
  expect(mebibytes).toBeLessThan(MOST_MEBIBYTES);
  return measured;
}

test(
  "from the tables, and from a slot that saw all of it in small transactions: the same facts, in bounded memory",
  { timeout: TIMEOUT },
  async () => {
    const { client } = deployment;
    const tables = await measure("the tables");
    expect(tables.counts["attempted"]).toBe(BUILDS);
    expect(tables.counts["connected"]).toBeGreaterThan(BUILDS * 0.45);

    await client.query("set session_replication_role = replica");
    await client.query("set synchronous_commit = off");
    await client.query(await sql("life.sql"));
    const slot = await park(client);
    await client.query(await sql("live.sql"));
    await client.query("vacuum analyze");
    const { rows } = await client.query<{ megabytes: string }>(
      "select round(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) / 1048576) as megabytes from pg_replication_slots where slot_name = $1",
      [slot],
    );
    const replayed = await measure(`a slot that retains ${rows[0]?.megabytes} MB`, slot);
    expect(replayed.counts).toEqual(tables.counts);
    await client.query("select pg_drop_replication_slot($1)", [slot]);
  },
);

const sql = async (name: string): Promise<string> =>
  readFile(new URL(`support/${name}`, import.meta.url), "utf8");
