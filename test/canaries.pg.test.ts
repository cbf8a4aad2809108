// Secrets stay where they are: marked values in error, auth_token, provisioner_state and input appear in no log line, no page
// and no file of ours, and all but the error not even in the stream. Nor does the database password.

import { readFile, readdir } from "node:fs/promises";
import type pg from "pg";
import { expect, test } from "vitest";
import { type Simulation, openSimulation } from "../src/demo/coder/simulation.ts";
import { temporaryFolder } from "./crash/support/folder.ts";
import { createDatabase } from "./support/database.ts";
import { type Firstlight, publish, startProcess, uniqueSlot, until } from "./support/firstlight.ts";
import { valueOf } from "./support/scrape.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

const CANARIES = {
  error: "canary-in-error-6f1d2c",
  authToken: "c0ffee00-ca4a-4e1e-9abc-0123456789ab",
  provisionerState: "canary-in-state-9b8e7a",
  input: "canary-in-input-55d0c3",
} as const;
const PASSWORD = "canary-password-77aa";
const PATHS = ["/metrics", "/metrics/process", "/", "/api/status", "/readyz", "/livez", "/nowhere"];

/** A value as itself, as the hexadecimal text that a bytea is sent as, and a uuid as its 16 bytes. */
function disguises(value: string): Buffer[] {
  const uuid = /^[0-9a-f]{8}-/.test(value) ? [Buffer.from(value.replaceAll("-", ""), "hex")] : [];
  return [Buffer.from(value), Buffer.from(Buffer.from(value).toString("hex")), ...uuid];
}

/** Which of the values are somewhere in these bytes. */
function found(bytes: Buffer, values: Readonly<Record<string, string>>): string[] {
  return Object.keys(values).filter((name) =>
    disguises(values[name] ?? "").some((disguise) => bytes.includes(disguise)),
  );
}

async function streamOf(client: pg.Client, slot: string, publication: string): Promise<Buffer> {
  const { rows } = await client.query<{ data: Buffer }>(
    `select data from pg_logical_slot_peek_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', $2)`,
    [slot, publication],
  );
  return Buffer.concat(rows.map(({ data }) => data));
}

async function pages(firstlight: Firstlight): Promise<Buffer> {
  const texts = await Promise.all(PATHS.map(async (path) => (await firstlight.get(path)).text()));
  return Buffer.from(texts.join("\n"));
}

async function fullMix(simulation: Simulation): Promise<void> {
  await simulation.run({ workflows: 100 });
}

test("marked secrets and the password appear nowhere but where Coder put them", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  // What whole tables would send: shows that the search finds what is there.
  await client.query(
    "create publication everything for table workspace_builds, provisioner_jobs, workspace_agents",
  );
  const spy = uniqueSlot();
  await client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [spy]);
  await using simulation = openSimulation({
    url: database.url,
    seed: 11,
    startAt: START_AT,
    canaries: CANARIES,
    divergent: true,
  });
  await simulation.seedDeployment();
  await fullMix(simulation);

  const shown: Buffer[] = [];
  let log: readonly string[];
  {
    await using firstlight = await startProcess({
      url: database.urlAs("postgres", PASSWORD),
      slot: uniqueSlot(),
      statePath: folder.path("firstlight.db"),
      env: { FIRSTLIGHT_LOG_LEVEL: "trace" },
    });
    ({ log } = firstlight);
    await firstlight.caughtUp();
    shown.push(await pages(firstlight));
    await fullMix(simulation);
    await firstlight.caughtUp();
    // What it says when things go wrong counts, too.
    await client.query("alter table workspace_agents rename column name to renamed");
    await disconnect(client);
    await until("it is in trouble", () => log.some((line) => line.includes('"requirements"')));
    shown.push(await pages(firstlight));
    await client.query("alter table workspace_agents rename column renamed to name");
    await fullMix(simulation);
    const scrape = await firstlight.caughtUp(40_000);
    expect(valueOf(scrape, "firstlight_reconnects_total")).toBeGreaterThan(0);
    shown.push(await pages(firstlight));
    shown.push(...(await files(folder.path("."))));
    expect(await firstlight.terminate()).toBe(0);
  }
  shown.push(Buffer.from(log.join("\n")), ...(await files(folder.path("."))));

  expect(found(await streamOf(client, spy, "everything"), CANARIES)).toEqual(Object.keys(CANARIES));
  expect(found(await streamOf(client, spy, "firstlight"), CANARIES)).toEqual(["error"]);
  expect(found(Buffer.concat(shown), { ...CANARIES, PASSWORD })).toEqual([]);
  expect(log.length).toBeGreaterThan(5);
  expect(log.join("\n")).toContain("table workspace_agents lacks name");
});

async function disconnect(client: pg.Client): Promise<void> {
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'firstlight' and datname = current_database()`,
  );
}

/** The raw bytes of every file of the store: the database, its write-ahead log, its lock. */
async function files(folder: string): Promise<Buffer[]> {
  const names = await readdir(folder);
  expect(names).toContain("firstlight.db");
  return Promise.all(names.map(async (name) => readFile(`${folder}/${name}`)));
}
