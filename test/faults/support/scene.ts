// A database that is followed while something goes wrong: hand-made rows, a follower that can leave and come back, and a
// scraper that never stops looking. At the end no series may ever have fallen, and every id must be accounted for.

import type pg from "pg";
import { expect } from "vitest";
import { must } from "../../../src/errors.ts";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { startScraper } from "../../crash/support/scraper.ts";
import { disconnect } from "../../crash/support/slots.ts";
import { createDatabase } from "../../support/database.ts";
import {
  type InProcess,
  publish,
  startInProcess,
  uniqueSlot,
  until,
} from "../../support/firstlight.ts";
import { HandMade } from "../../support/hand-made.ts";
import { type Scrape, valueOf } from "../../support/scrape.ts";

/** What healing and catching up may take on a busy machine. */
export const RECOVERS_WITHIN_MS = 40_000;
const BACK_OFF_UP_TO_MS = 500;

/** Where a deployment lives: a database of the shared server, or a server of its own. */
export interface Place {
  readonly url: string;
  client(): Promise<pg.Client>;
}

export interface Scene {
  readonly place: Place;
  readonly client: pg.Client;
  readonly made: HandMade;
  readonly slot: string;
  readonly statePath: string;
  /** The follower at work. Throws while there is none. */
  readonly firstlight: InProcess;
  /** Starts a follower on the same store and slot, with this environment from now on, and waits until it has caught up. */
  follow(env?: Readonly<Record<string, string>>): Promise<Scrape>;
  /** Stops it; the store is closed and can be read. */
  leave(): Promise<void>;
  /** Everything that is committed now, as shown. */
  shown(): Promise<Scrape>;
  /** For a store that is put back: pages from now on may show less than those before. */
  forgetPages(): Promise<void>;
  /** Runs this in one transaction: Coder inserts a job and its build together, never the one without the other. */
  inOne<T>(work: () => Promise<T>): Promise<T>;
  /** Ends the server's side of every session of ours, as an administrator would: it comes back by itself. */
  disconnect(): Promise<void>;
}

export interface SceneOptions {
  /** Default: a database of its own on the shared server. */
  readonly place?: Place & { readonly published?: boolean };
  /** Makes the publication. Default: as `setup` would, with column lists. */
  readonly publish?: (client: pg.Client) => Promise<unknown>;
}

/** Publishes whole tables, as `setup --whole-tables` does. */
export async function publishWhole(client: pg.Client): Promise<void> {
  await client.query(
    "create publication firstlight for table workspace_builds, provisioner_jobs, workspace_agents",
  );
}

/** Plays a story on a database that is being followed. No page may ever have gone back, whatever the story does. */
export async function scene(
  options: SceneOptions,
  story: (scene: Scene) => Promise<void>,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const place = options.place ?? stack.use(await createDatabase());
  const folder = stack.use(await temporaryFolder());
  const client = await place.client();
  if (!options.place?.published) await (options.publish ?? publish)(client);
  const made = await HandMade.on(client);
  const statePath = folder.path("firstlight.db");
  const slot = uniqueSlot();
  let running: InProcess | undefined;
  let env: Readonly<Record<string, string>> = {};
  const leave = async (): Promise<void> => {
    const leaving = running;
    running = undefined;
    await leaving?.[Symbol.asyncDispose]();
  };
  stack.defer(leave);
  const wrong: string[] = [];
  let scraper = startScraper(() => running?.port ?? null);
  const stopScraping = async (): Promise<void> => {
    await scraper[Symbol.asyncDispose]();
    wrong.push(...scraper.wrong);
  };
  stack.defer(stopScraping);
  await story({
    place,
    client,
    made,
    slot,
    statePath,
    get firstlight() {
      return must(running, "nobody follows");
    },
    async follow(next = env) {
      env = next;
      const timing = { backOffUpToMs: BACK_OFF_UP_TO_MS };
      running = await startInProcess({ url: place.url, statePath, slot, env, timing });
      return running.caughtUp(RECOVERS_WITHIN_MS);
    },
    leave,
    async shown() {
      const following = must(running, "nobody follows");
      // While a gap is healed the page still shows what was counted before it.
      await until(
        "it follows",
        async () => valueOf(await following.scrape(), "firstlight_stream_connected") === 1,
        RECOVERS_WITHIN_MS,
      );
      return following.caughtUp(RECOVERS_WITHIN_MS);
    },
    async forgetPages() {
      await stopScraping();
      scraper = startScraper(() => running?.port ?? null);
    },
    async inOne(work) {
      await client.query("begin");
      const result = await work();
      await client.query("commit");
      return result;
    },
    disconnect: async () => disconnect(client),
  });
  await stopScraping();
  expect(wrong).toEqual([]);
}

/** Lines of the log with this message, as objects. */
export function said(log: readonly string[], message: string): Record<string, unknown>[] {
  return log
    .filter((line) => line.includes(`"message":${JSON.stringify(message)}`))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** How often each kind of gap was found, as shown. */
export function gaps(scrape: Scrape): Record<string, number> {
  const found = [...scrape.series].flatMap(([name, value]): [string, number][] => {
    const reason = /^firstlight_gaps_total\{reason="(\w+)"\}$/.exec(name)?.[1];
    return reason === undefined || value === 0 ? [] : [[reason, value]];
  });
  return Object.fromEntries(found);
}
