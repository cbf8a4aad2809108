// Another database of the server writes a lot while ours is idle: its WAL must not be held back for us, and must cost us
// next to nothing.
//
// FIRSTLIGHT_TEST_NEIGHBOUR_MB: how much it writes. Default 300.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import pg from "pg";
import { ownServer } from "../../crash/support/own-server.ts";
import { report } from "../../crash/support/report.ts";
import { until } from "../../support/firstlight.ts";
import { byLabels, valueOf } from "../../support/scrape.ts";
import { expectUndisturbed, openNetwork } from "../support/network.ts";

const MEGABYTE = 2 ** 20;
const WRITES = Number(process.env["FIRSTLIGHT_TEST_NEIGHBOUR_MB"] ?? 300) * MEGABYTE;
const ROUND = 25 * MEGABYTE;
const ROWS_PER_ROUND = 25_000;
/** At most so fast: whether 64 MB are full is looked at once a second. */
const ROUND_MS = 1_000;
/** A position is stored every 64 MB, or 2 s, and the server frees up to a running-xacts record that was decoded before the last one. */
const MAY_RETAIN = 2 * (64 * MEGABYTE + ROUND) + ROUND;
/** By a stream, as far as there is no news; each burst stores one. */
const STORED_EVERY_MS = 10_000;
const READ_EVERY_MS = 2_000;
const COMMITS = "firstlight_store_commit_seconds_count";
const FACTS = "firstlight_facts_total";

test.each([
  { reading: "in bursts", every: `${READ_EVERY_MS}ms`, storedEveryMs: READ_EVERY_MS },
  { reading: "by a stream", every: "0", storedEveryMs: STORED_EVERY_MS / 2 },
])(
  "a busy neighbour's WAL is not held back, and costs few writes: read $reading",
  { timeout: 120_000 + WRITES / 1_000 },
  async ({ reading, every, storedEveryMs }) => {
    await using server = await ownServer();
    await using network = await openNetwork({ place: server });
    const { client, simulation, target } = network;
    await simulation.run({ workflows: 10 });
    await client.query("create database neighbour");
    await using connected = await connect(server.url, "neighbour");
    const neighbour = connected.client;
    await neighbour.query("create table noise (text text)");
    await using firstlight = await network.follow({ env: { FIRSTLIGHT_READ_EVERY: every } });
    const before = await firstlight.caughtUp();

    const began = performance.now();
    let most = 0;
    for (let written = 0; written < WRITES; written += ROUND) {
      const pause = sleep(ROUND_MS);
      await neighbour.query(
        "insert into noise select repeat(md5(n::text), 30) from generate_series(1, $1) as n",
        [ROWS_PER_ROUND],
      );
      await neighbour.query("truncate noise");
      await client.query("checkpoint");
      most = Math.max(most, await retained(client, target.slot));
      await pause;
    }
    // Everything is written: without another byte of ours, it is let go once the position is due.
    await until(
      "nothing is held back",
      async () => {
        await client.query("checkpoint");
        return (await retained(client, target.slot)) < MEGABYTE;
      },
      60_000,
    );
    const seconds = (performance.now() - began) / 1000;

    const after = await network.finish(firstlight);
    expectUndisturbed(after);
    const commits = valueOf(after, COMMITS) - valueOf(before, COMMITS);
    report(`a busy neighbour, read ${reading}`, {
      "written in MB": WRITES / MEGABYTE,
      seconds: seconds.toFixed(1),
      "most held back in MB": (most / MEGABYTE).toFixed(1),
      "store commits": commits,
    });
    expect(byLabels(after, FACTS)).toEqual(byLabels(before, FACTS));
    expect(valueOf(after, "firstlight_reconnects_total")).toBe(0);
    expect(most).toBeLessThan(MAY_RETAIN);
    expect(commits).toBeLessThan(5 + WRITES / (64 * MEGABYTE) + (seconds * 1000) / storedEveryMs);
  },
);

async function retained(client: pg.Client, slot: string): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>(
    "select pg_current_wal_lsn() - restart_lsn as bytes from pg_replication_slots where slot_name = $1",
    [slot],
  );
  return Number(rows[0]?.bytes);
}

async function connect(
  url: string,
  database: string,
): Promise<AsyncDisposable & { readonly client: pg.Client }> {
  const other = new URL(url);
  other.pathname = `/${database}`;
  const client = new pg.Client(other.href);
  await client.connect();
  return { client, [Symbol.asyncDispose]: async () => client.end() };
}
