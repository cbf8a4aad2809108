// Reading in bursts, at the source: where the slot stands before and after, what is proved, and in which parts news comes.

import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { expect, test } from "vitest";
import { newCounts } from "../../src/change/counts.ts";
import type { Batch } from "../../src/change/source.ts";
import { Waiting } from "../../src/change/waiting.ts";
import { type Lsn, formatLsn, toLsn } from "../../src/lsn.ts";
import { type Bursts, openBursts } from "../../src/postgres/bursts.ts";
import { Decoder } from "../../src/postgres/decode.ts";
import { isPinned } from "../../src/postgres/peek.ts";
import { type Session, openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { type OwnServer, ownServer } from "../crash/support/own-server.ts";
import { confirmedFlush, createSlot } from "../crash/support/slots.ts";
import { record } from "../crash/support/recording.ts";
import { manyBuilds } from "../faults/support/bulk.ts";
import { createDatabase } from "../support/database.ts";
import { publish, serverLsn, uniqueSlot, until } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";

const EVERY_MS = 50;
const MEBIBYTE = 1n << 20n;

interface Place {
  readonly url: string;
  readonly client: pg.Client;
  readonly made: HandMade;
  readonly slot: string;
  readonly start: Lsn;
  readonly beside: Session;
  readonly counts: ReturnType<typeof newCounts>;
  open(): Promise<Bursts>;
}

async function place(check: (place: Place) => Promise<void>): Promise<void> {
  const database = await createDatabase();
  await publish(await database.client());
  await placeOn(database, check);
}

/** In a database with our publication, which ends with the check. */
async function placeOn(
  opened: Pick<OwnServer, "url" | "client"> & AsyncDisposable,
  check: (place: Place) => Promise<void>,
): Promise<void> {
  await using database = opened;
  const client = await database.client();
  const made = await HandMade.on(client);
  const slot = uniqueSlot();
  const start = await createSlot(client, slot);
  const { signal } = new AbortController();
  const clientConfig = parseDatabaseUrl(database.url);
  await using beside = await openSession(clientConfig, { signal });
  const counts = newCounts();
  const open = async (): Promise<Bursts> =>
    openBursts({
      clientConfig,
      slot,
      publication: "firstlight",
      beside,
      confirmed: start,
      start,
      everyMs: EVERY_MS,
      waiting: new Waiting(),
      counts,
      onUnknown: () => undefined,
      signal,
    });
  await check({ url: database.url, client, made, slot, start, beside, counts, open });
}

/** Takes batches until one reaches this position; each is durable at once, as after a commit. */
async function readTo(bursts: Bursts, end: Lsn, stop: AbortController): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of bursts.batches(stop.signal)) {
    batches.push(batch);
    bursts.durable(batch.end);
    if (batch.end >= end) stop.abort();
  }
  return batches;
}

test("a burst ends where the server's WAL ended, and the slot is moved exactly there", async () => {
  await place(async ({ url, client, made, slot, start, open }) => {
    await made.build({ job: JOBS.running });
    const end = await serverLsn(url);
    await using bursts = await open();
    const batches = await readTo(bursts, end, new AbortController());
    const last = batches.at(-1);
    expect(batches.flatMap(({ txs }) => txs).length).toBeGreaterThan(0);
    expect(last?.end).toBeGreaterThanOrEqual(end);
    expect(last?.end).toBeGreaterThan(start);
    // Once more at the end, as at a graceful stop.
    expect(await confirmedFlush(client, slot)).toBe(last?.end);
  });
});

test("the slot stays where it is while what was read is not durable", async () => {
  await place(async ({ url, client, made, slot, start, open }) => {
    await made.build({ job: JOBS.running });
    const end = await serverLsn(url);
    const stop = new AbortController();
    await using bursts = await open();
    for await (const batch of bursts.batches(stop.signal)) {
      if (batch.end >= end) stop.abort();
    }
    expect(await confirmedFlush(client, slot)).toBe(start);
  });
});

test("what is read between two bursts comes once, and nothing comes twice", async () => {
  await place(async ({ made, counts, open }) => {
    const stop = new AbortController();
    await using bursts = await open();
    const ends: Lsn[] = [];
    const reading = (async () => {
      for await (const batch of bursts.batches(stop.signal)) {
        ends.push(...batch.txs.map((tx) => tx.end));
        bursts.durable(batch.end);
      }
    })();
    for (let i = 0; i < 20; i += 1) {
      await made.build({ job: JOBS.running });
      await sleep(EVERY_MS / 3);
    }
    await Promise.race([
      until("all builds are read", () => counts.changes.workspace_builds.insert >= 20),
      reading,
    ]);
    await sleep(3 * EVERY_MS);
    stop.abort();
    await reading;
    expect(counts.changes.workspace_builds.insert).toBe(20);
    expect(new Set(ends).size).toBe(ends.length);
    expect(ends).toEqual([...ends].sort((a, b) => (a < b ? -1 : 1)));
  });
});

test("a slot that somebody moved between two bursts ends the reading, before its batch is handed out", async () => {
  await place(async ({ client, made, slot, open }) => {
    await using bursts = await open();
    const stop = new AbortController();
    const handed: Batch[] = [];
    const reading = (async () => {
      for await (const batch of bursts.batches(stop.signal)) {
        handed.push(batch);
        bursts.durable(batch.end);
        if (handed.length > 1) continue;
        await made.build({ job: JOBS.running });
        await client.query("select pg_replication_slot_advance($1, pg_current_wal_flush_lsn())", [
          slot,
        ]);
      }
    })();
    await made.build({ job: JOBS.running });
    await expect(reading).rejects.toMatchObject({ reason: "slot_moved" });
    expect(handed.length).toBe(1);
  });
});

test("a slot that was dropped between two bursts ends the reading", async () => {
  await place(async ({ client, made, slot, open }) => {
    await using bursts = await open();
    const reading = (async () => {
      for await (const batch of bursts.batches(new AbortController().signal)) {
        bursts.durable(batch.end);
        await client.query("select pg_drop_replication_slot($1)", [slot]);
      }
    })();
    await made.build({ job: JOBS.running });
    await expect(reading).rejects.toMatchObject({ reason: "slot_moved", message: /is gone/ });
  });
});

test("a backlog is read in steps, so that each query of the server is bounded", async () => {
  await place(async ({ url, client, made, start, counts, open }) => {
    for (let i = 0; i < 5; i += 1) {
      await made.build({ job: JOBS.running });
      await client.query("select pg_logical_emit_message(false, 'filler', repeat('x', 33554432))");
    }
    const end = await serverLsn(url);
    expect(end - start).toBeGreaterThan(128n * MEBIBYTE);
    await using bursts = await open();
    const batches = await readTo(bursts, end, new AbortController());
    const steps = batches.map((batch, i) => batch.end - (batches[i - 1]?.end ?? start));
    expect(steps.length).toBeGreaterThanOrEqual(3);
    for (const step of steps) expect(step).toBeLessThanOrEqual(64n * MEBIBYTE + 4096n);
    expect(counts.changes.workspace_builds.insert).toBe(5);
  });
});

test("very much news in one burst is handed out in parts that end with transactions", async () => {
  await placeOn(await ownServer(), async ({ url, client, made, open }) => {
    for (let i = 0; i < 7; i += 1) await manyBuilds(client, made, 5_000);
    const end = await serverLsn(url);
    await using bursts = await open();
    const batches = await readTo(bursts, end, new AbortController());
    const withNews = batches.filter(({ txs }) => txs.length > 0);
    expect(withNews.length).toBeGreaterThan(1);
    // Some end with a transaction that is in them, some where a query of the server ended. Nobody else writes WAL here.
    expect(withNews.some(({ txs, end: at }) => txs.at(-1)?.end === at)).toBe(true);
    for (const { txs, end: at } of withNews)
      expect(at).toBeGreaterThanOrEqual(txs.at(-1)?.end ?? at);
    const builds = withNews
      .flatMap(({ txs }) => txs)
      .flatMap(({ rows }) => rows)
      .filter(({ kind }) => kind === "build");
    expect(new Set(builds.map((row) => ("id" in row ? row.id : ""))).size).toBe(35_000);
  });
});

test.each([
  ["workspace_builds", "job_id", "uuid", "is not a uuid"],
  ["workspace_builds", "build_number", "integer", "is not a whole number"],
  ["workspace_builds", "created_at", "timestamptz", "not an ISO timestamptz"],
])(
  "a type of the database's own over a column of %s stops the reading by name, and is never counted: %s",
  async (table, column, type, told) => {
    await place(async ({ client, made, slot }) => {
      await client.query("drop publication firstlight");
      await client.query(`create domain own as ${type}`);
      await client.query(`alter table ${table} alter column ${column} type own`);
      await publish(client);
      await made.build({ job: JOBS.running });
      const decoder = new Decoder({
        waiting: new Waiting(),
        counts: newCounts(),
        onUnknown: () => undefined,
      });
      const messages = await record(client, slot);
      expect(() => messages.map((message) => decoder.decode(message))).toThrow(told);
    });
  },
);

test("text and binary form tell the same rows", async () => {
  await place(async ({ client, made, slot }) => {
    const { workspace } = await made.build({
      job: { ...JOBS.failed, error_code: "X" },
      preset: made.large,
    });
    const { job } = await made.build({ job: JOBS.canceling });
    const running = await made.build({ job: JOBS.running, number: 2, workspace });
    await made.agent(running.job, { name: "größe", connected: 12.5 });
    await made.agent(running.job, { name: "main" });
    await client.query(
      "update provisioner_jobs set completed_at = now(), error = '' where id = $1",
      [job],
    );
    await client.query(
      "update workspace_agents set first_connected_at = 'infinity' where name = 'main'",
    );
    await client.query("delete from workspace_agents where name = 'main'");
    const rowsOf = async (binary: boolean): Promise<unknown> => {
      const decoder = new Decoder({
        waiting: new Waiting(),
        counts: newCounts(),
        onUnknown: () => undefined,
      });
      const messages = await record(client, slot, { binary });
      return messages.map((message) => decoder.decode(message)).filter((tx) => tx !== null);
    };
    const binary = await rowsOf(true);
    expect(binary).toEqual(await rowsOf(false));
    expect(binary).toContainEqual(
      expect.objectContaining({
        rows: expect.arrayContaining([expect.objectContaining({ name: "größe" })]),
      }),
    );
  });
});

test("a pinned slot is not moved before it is left to a stream, which would find it held by the move", async () => {
  await placeOn(await ownServer(), async ({ url, client, made, slot, open }) => {
    const { signal } = new AbortController();
    await using other = await openSession(parseDatabaseUrl(url), { signal });
    await other.query("begin; select pg_current_xact_id()");
    for (let i = 0; i < 3; i += 1)
      await client.query("select pg_logical_emit_message(false, 'filler', repeat('x', 33554432))");
    await using bursts = await open();
    let stored = toLsn(0n);
    for await (const batch of bursts.batches(AbortSignal.timeout(30_000))) {
      bursts.durable(batch.end);
      stored = batch.end;
      await made.build({ job: JOBS.running }); // something small for the next burst, which moves the slot to here
    }
    expect(bursts.pinned).toBe(true);
    expect(await confirmedFlush(client, slot)).toBeLessThan(stored);
  });
});

test("an open transaction pins the slot once reading again costs more than a stream", () => {
  const at = (mebibytes: bigint): Lsn => toLsn(mebibytes * MEBIBYTE);
  const confirmed = at(1_000n);
  expect(isPinned({ confirmed, restart: confirmed }, 0n)).toBe(false);
  expect(isPinned({ confirmed, restart: at(936n) }, 0n)).toBe(false);
  expect(isPinned({ confirmed, restart: at(935n) }, 0n)).toBe(true);
  expect(isPinned({ confirmed, restart: at(935n) }, MEBIBYTE)).toBe(false);
  expect(isPinned({ confirmed, restart: at(600n) }, 16n * MEBIBYTE), formatLsn(confirmed)).toBe(
    true,
  );
});
