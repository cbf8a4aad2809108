// A deployment on servers of its own: a primary that Coder writes to, and as many standbys as a test asks for. Firstlight
// knows only the servers that it is pointed at.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { expect } from "vitest";
import { createCoderSchema } from "../../../src/demo/coder/schema.ts";
import { type Simulation, openSimulation } from "../../../src/demo/coder/simulation.ts";
import { whatIsLeft } from "../../../src/demo/coder/adopt.ts";
import { type Server, startServer } from "../../../src/demo/server.ts";
import { must } from "../../../src/errors.ts";
import type { Status } from "../../../src/http/status.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../../support/exact.ts";
import { type Firstlight, publish, uniqueSlot, until } from "../../support/firstlight.ts";
import { type Scrape, byLabels } from "../../support/scrape.ts";
import {
  type Settings,
  type Standby,
  type StandbyOptions,
  connect,
  keepLogging,
  standbyOf,
} from "../../support/standby.ts";

/** 2026-08-21, so that no test depends on today. */
export const START_AT = 1_787_300_000_000_000;

const DATABASE = "coder";

export interface Site extends AsyncDisposable {
  readonly primary: Server;
  /** Writes to the primary; the deployment is seeded and has some history. */
  readonly simulation: Simulation;
  /** A client of Coder's database; ends with the site at the latest. */
  client(server?: Server): Promise<pg.Client>;
  /** A standby, of the primary unless told; removed with the site at the latest. */
  standby(options?: StandbyOptions & { readonly of?: Server }): Promise<Standby>;
  /** A simulation that goes on with this deployment on another server. */
  goOnAt(server: Server): Promise<Simulation>;
  /** What to follow at a server, with the site's one slot and store. */
  target(server: Server): Target;
}

export interface Target {
  readonly url: string;
  readonly slot: string;
  readonly statePath: string;
}

export interface SiteOptions {
  readonly seed?: number;
  /** Workflows before anybody follows. Default 10. */
  readonly history?: number;
  /** Of the primary. */
  readonly settings?: Settings;
}

/** Starts a primary that nothing disturbs: no vacuum and no checkpoint by itself, and no wait for the disk. */
export async function openSite(options: SiteOptions = {}): Promise<Site> {
  const { seed = 1, history = 10, settings } = options;
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "firstlight-site-"));
  stack.defer(async () => rm(folder, { recursive: true, force: true }));
  const primary = stack.use(
    await startServer({
      settings: { fsync: "off", autovacuum: "off", checkpoint_timeout: "1h", ...settings },
    }),
  );
  {
    await using admin = await connect(primary.url());
    await admin.query(`create database ${DATABASE}`);
    await using first = await connect(urlOf(primary));
    await createCoderSchema(first);
    await publish(first);
  }
  const simulation = stack.use(openSimulation({ url: urlOf(primary), seed, startAt: START_AT }));
  await simulation.seedDeployment();
  await simulation.run({ workflows: history });
  const slot = uniqueSlot();
  const owned = stack.move();
  return {
    primary,
    simulation,
    client: async (server = primary) => owned.use(await connect(urlOf(server))),
    standby: async ({ of = primary, ...rest } = {}) => owned.use(await standbyOf(of, rest)),
    async goOnAt(server) {
      const left = must(await whatIsLeft(urlOf(server)), "nothing is left");
      const later = owned.use(
        openSimulation({ url: urlOf(server), seed: 1 + left.workspaces, startAt: left.newest }),
      );
      await later.adoptDeployment(left);
      return later;
    },
    target: (server) => ({ url: urlOf(server), slot, statePath: join(folder, "firstlight.db") }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A superuser's URL of Coder's database. */
export function urlOf(server: Server): string {
  return server.url(DATABASE);
}

/** Waits for the first totals from a standby, whose slot needs records of its primary. */
export async function firstTotals(primary: Server, firstlight: Firstlight): Promise<void> {
  await using _records = keepLogging(primary);
  await until("totals are shown", async () => (await firstlight.scrape()).hasTotals, 60_000);
}

/** Waits until everything that the primary has committed is replayed and counted, and compares the sums with the tables. */
export async function expectExact(
  firstlight: Firstlight,
  via: { readonly primary: Server; readonly standby?: Standby; readonly withinMs?: number },
): Promise<Scrape> {
  await via.standby?.waitFor(via.primary);
  const page = await firstlight.caughtUp(via.withinMs);
  await using client = await connect(urlOf(via.primary));
  await expectSumsEqualRecount(client, page);
  return page;
}

/** By id; nobody may have the store open. Compares with the tables of that server. */
export async function expectLedger(site: Site, server: Server): Promise<void> {
  await using client = await connect(urlOf(server));
  await expectLedgerEqualsTables(
    client,
    site.target(server).statePath,
    server === site.primary ? site.simulation : undefined,
  );
}

export function expectNoGap(page: Scrape): void {
  expect(gapsOf(page)).toEqual({});
}

/** How often each reason was found. */
export function gapsOf(page: Scrape): Record<string, number> {
  const gaps = byLabels(page, "firstlight_gaps_total");
  return Object.fromEntries(
    [...gaps].map(([labels, count]) => [(JSON.parse(labels) as string[]).join(), count]),
  );
}

/** What keeps it from following; reason, message and hint are empty where nothing does. */
export async function troubleOf(
  firstlight: Firstlight,
): Promise<{ readonly reason: string; readonly message: string; readonly hint: string }> {
  const { trouble } = (await (await firstlight.get("/api/status")).json()) as Status;
  return {
    reason: trouble?.reason ?? "",
    message: trouble?.message ?? "",
    hint: trouble?.hint ?? "",
  };
}
