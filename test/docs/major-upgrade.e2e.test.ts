// The major upgrade of docs/operations.md, by pg_dump from the server that the matrix runs on into the newest: what its
// steps do to a ledger. (pg_upgrade is of no npm package; what it leaves is the same to a follower: the rows, another system, no slot.)

import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { whatIsLeft } from "../../src/demo/coder/adopt.ts";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { type Server, startServer, useBinaries } from "../../src/demo/server.ts";
import { must } from "../../src/errors.ts";
import { POSTGRES, useTheseServers } from "../matrix/binaries.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { publish, type StartOptions, startInProcess } from "../support/firstlight.ts";
import { missingTool } from "../support/prometheus.ts";
import { type Scrape, regressions } from "../support/scrape.ts";

const NEWEST = 18;
const missing = missingTool("pg_dump") ?? olderThanServer();

/** Why a dump can not be had here. */
function olderThanServer(): string | undefined {
  if (POSTGRES === NEWEST) return "npm run test:matrix upgrades from the older ones";
  const version = execFileSync("pg_dump", ["--version"], { encoding: "utf8" });
  const major = Number(/ (\d+)/.exec(version)?.[1]);
  return major < POSTGRES ? `pg_dump is of ${major}` : undefined;
}

async function newestServer(): Promise<Server> {
  useBinaries(null);
  try {
    return await startServer();
  } finally {
    useTheseServers();
  }
}

async function connect(server: Server, database: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client(server.url(database));
  client.on("error", () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

test.skipIf(missing)(
  `${missing ? `SKIPPED, ${missing}: ` : ""}a major upgrade of Postgres by dump and restore: refused, adopted, healed, and followed on`,
  { timeout: 180_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "firstlight-upgrade-"));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const target = { statePath: join(folder, "firstlight.db"), slot: "firstlight" };
    const old = stack.use(await startServer());
    await using admin = await connect(old, "postgres");
    await admin.query("create database coder");
    await using coder = await connect(old, "coder");
    await createCoderSchema(coder);
    await publish(coder);
    const startAt = 1_787_300_000_000_000;
    await using simulation = openSimulation({ url: old.url("coder"), seed: 21, startAt });
    await simulation.seedDeployment();
    const before = await seen({ ...target, url: old.url("coder") }, async () =>
      simulation.run({ workflows: 25 }),
    );
    await coder.query("select pg_drop_replication_slot('firstlight')");

    const restored = stack.use(await newestServer());
    await using newAdmin = await connect(restored, "postgres");
    await newAdmin.query("create database coder");
    const dump = execFileSync("pg_dump", ["--dbname", old.url("coder")], { maxBuffer: 1 << 28 });
    const restore = ["--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", restored.url("coder")];
    execFileSync("psql", restore, { input: dump, stdio: ["pipe", "ignore", "inherit"] });

    {
      await using misled = await startInProcess({ ...target, url: restored.url("coder") });
      await expect(misled.ended).rejects.toThrow(/the store belongs to Postgres system/);
    }

    await using client = await connect(restored, "coder");
    const { rows } = await client.query<{ id: string; version: number }>(
      `select system_identifier::text as id, current_setting('server_version_num')::int as version
       from pg_control_system()`,
    );
    expect(Math.trunc((rows[0]?.version ?? 0) / 10_000)).toBe(NEWEST);
    const env = { FIRSTLIGHT_ADOPT_SYSTEM: rows[0]?.id ?? "" };
    const moved = { ...target, url: restored.url("coder"), env };
    const adopted = await seen(moved, async () => undefined);
    expect(regressions(before, adopted)).toEqual([]);
    expect(adopted.series.get('firstlight_gaps_total{reason="system_adopted"}')).toBe(1);
    await expectLedgerEqualsTables(client, target.statePath);

    const left = must(await whatIsLeft(moved.url), "nothing was restored");
    await using later = openSimulation({ url: moved.url, seed: 22, startAt: left.newest });
    await later.adoptDeployment(left);
    const after = await seen(moved, async () => later.run({ workflows: 25 }));
    expect(regressions(adopted, after)).toEqual([]);
    await expectSumsEqualRecount(client, after);
    await expectLedgerEqualsTables(client, target.statePath);
  },
);

/** The page once this has happened, and all of it is followed. */
async function seen(options: StartOptions, happens: () => Promise<unknown>): Promise<Scrape> {
  await using firstlight = await startInProcess(options);
  await firstlight.caughtUp();
  await happens();
  return await firstlight.caughtUp();
}
