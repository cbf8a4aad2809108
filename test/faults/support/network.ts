// A simulated deployment that is followed through a network of the test's making, under the eyes of a scraper. At the end
// totals and ledger must equal the tables, and no scrape may ever have gone back.

import type pg from "pg";
import { expect } from "vitest";
import {
  type Simulation,
  type SimulationOptions,
  openSimulation,
} from "../../../src/demo/coder/simulation.ts";
import type { FollowerOptions } from "../../../src/pipeline/context.ts";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { startScraper } from "../../crash/support/scraper.ts";
import { createDatabase } from "../../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../../support/exact.ts";
import {
  type Firstlight,
  type InProcess,
  publish,
  startInProcess,
  uniqueSlot,
} from "../../support/firstlight.ts";
import type { Scrape } from "../../support/scrape.ts";
import { type Proxy, type ProxyOptions, startProxy } from "./proxy.ts";

/** 2026-08-21, so that no test depends on today. */
export const START_AT = 1_787_300_000_000_000;
/** Back-off, and what catching up takes on a busy machine. */
export const RECOVERS_WITHIN_MS = 60_000;

/** Where a deployment lives: a database of the shared server, or a server of its own. */
export interface Place {
  readonly url: string;
  client(): Promise<pg.Client>;
}

export interface NetworkOptions extends Omit<ProxyOptions, "port"> {
  /** With the publication. Default: a database of its own on the shared server. */
  readonly place?: Place;
  readonly simulation?: Partial<SimulationOptions>;
}

export interface FollowOptions extends Pick<FollowerOptions, "onPoint" | "timing"> {
  /** Default: the target's. */
  readonly url?: string;
  readonly statePath?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface FinishOptions {
  /** Default: `RECOVERS_WITHIN_MS`. */
  readonly deadlineMs?: number;
  /** False: not only the simulation has written. Default true. */
  readonly tally?: boolean;
}

export interface Network extends AsyncDisposable {
  readonly place: Place;
  /** A superuser's, past the proxy; lost when the server stops. */
  readonly client: pg.Client;
  readonly proxy: Proxy;
  readonly simulation: Simulation;
  /** Where to follow: by way of the proxy. */
  readonly target: { readonly url: string; readonly slot: string; readonly statePath: string };
  /** Follows in this process, watched by the scraper. */
  follow(options?: FollowOptions): Promise<InProcess>;
  /** A follower that the test has started itself is watched, too. */
  watch<T extends Firstlight>(firstlight: T): T;
  /** Waits until everything is shown, ends the follower, and compares. Returns its last page. */
  finish(firstlight: Firstlight, options?: FinishOptions): Promise<Scrape>;
}

/** A seeded deployment and a proxy in front of its server. */
export async function openNetwork(options: NetworkOptions = {}): Promise<Network> {
  await using stack = new AsyncDisposableStack();
  const place = options.place ?? stack.use(await createDatabase());
  const client = await place.client();
  if (!options.place) await publish(client);
  const folder = stack.use(await temporaryFolder());
  const simulation = stack.use(
    openSimulation({ url: place.url, seed: 1, startAt: START_AT, ...options.simulation }),
  );
  await simulation.seedDeployment();
  const port = Number(new URL(place.url).port);
  const proxy = stack.use(await startProxy({ ...options, port }));
  const target = {
    url: proxy.url(place.url),
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
  };
  let listening: number | null = null;
  const scraper = stack.use(startScraper(() => listening));
  const watch: Network["watch"] = (firstlight) => {
    listening = firstlight.port;
    return firstlight;
  };
  const owned = stack.move();
  return {
    place,
    client,
    proxy,
    simulation,
    target,
    watch,
    follow: async (how) => watch(await startInProcess({ ...target, ...how })),
    async finish(firstlight, { deadlineMs = RECOVERS_WITHIN_MS, tally = true } = {}) {
      const page = await firstlight.caughtUp(deadlineMs);
      // A new one: the server may have been down in between.
      const oracle = await place.client();
      await expectSumsEqualRecount(oracle, page);
      listening = null;
      await firstlight[Symbol.asyncDispose]();
      await expectLedgerEqualsTables(oracle, firstlight.statePath, tally ? simulation : undefined);
      expect(scraper.wrong).toEqual([]);
      return page;
    },
    [Symbol.asyncDispose]: async () => owned.disposeAsync(),
  };
}

export interface Load extends AsyncDisposable {
  /** Ends what has begun, and no more. */
  stop(): Promise<void>;
}

/** Traffic at so many simulated seconds per second until it is stopped; 40 is about seven workflows a second. */
export function startLoad(simulation: Simulation, speed = 40): Load {
  const enough = new AbortController();
  const running = simulation.pace({ speed, signal: enough.signal });
  running.catch(() => undefined); // whoever stops it hears of it
  const stop = async (): Promise<void> => {
    enough.abort();
    await running;
  };
  return { stop, [Symbol.asyncDispose]: stop };
}

/** No gap, and the tables were read no more than so often by this process. */
export function expectUndisturbed(page: Scrape, baselines = 1): void {
  expect(page.series.get("firstlight_baselines_total")).toBe(baselines);
  const gaps = [...page.series.keys()].filter((name) => name.startsWith("firstlight_gaps_total{"));
  expect(gaps).toEqual([]);
}
