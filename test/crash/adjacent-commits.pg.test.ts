// Two commits whose records touch: the first byte after one is the first byte of the other. Acknowledging the first one
// exactly must not skip the second; acknowledging one byte more does, which is why it is never done.

import { expect, test } from "vitest";
import type pg from "pg";
import { must } from "../../src/errors.ts";
import { type Lsn, toLsn } from "../../src/lsn.ts";
import { newCounts } from "../../src/change/counts.ts";
import type { Tx, Uuid } from "../../src/change/row.ts";
import { Waiting } from "../../src/change/waiting.ts";
import { peek } from "../../src/postgres/peek.ts";
import { type Stream, openStream } from "../../src/postgres/replication.ts";
import { openSession } from "../../src/postgres/session.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { publish, serverLsn, uniqueSlot, until } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import { record } from "./support/recording.ts";
import { confirmedFlush, createSlot } from "./support/slots.ts";

const TRIES = 50;

test("two adjacent commits: the first is acknowledged, the connection dies, the second arrives once", async () => {
  await using database = await createDatabase();
  const { client, slots, first, second, jobs } = await adjacentCommits(database);
  const streamOf = async (start: Lsn): Promise<Stream> =>
    open({ database, slot: slots.ours, start, jobs });
  {
    await using stream = await streamOf(slots.start);
    expect(ends(await drain(stream, { database, from: slots.start })).slice(-2)).toEqual([
      first.end,
      second.end,
    ]);
    stream.durable(first.end);
    await until(
      "the first is acknowledged",
      async () => (await confirmedFlush(client, slots.ours)) === first.end,
    );
    await client.query("select pg_terminate_backend($1)", [stream.pid]);
  }
  {
    await using stream = await streamOf(first.end);
    const came = await drain(stream, { database, from: first.end });
    expect(ends(came)).toEqual([second.end]);
    expect(came[0]?.rows).toMatchObject([{ kind: "job", id: second.job }]);
    stream.durable(second.end);
    await until(
      "the second is acknowledged",
      async () => (await confirmedFlush(client, slots.ours)) === second.end,
    );
  }
  await using stream = await streamOf(second.end);
  expect(await drain(stream, { database, from: second.end })).toEqual([]);
});

// The fact behind the rule. A server that no longer does this makes this test fail, and the rule harmless.
test("two adjacent commits read in bursts: the first burst ends between them, the second has only the second", async () => {
  await using database = await createDatabase();
  const { client, slots, first, second } = await adjacentCommits(database);
  const { signal } = new AbortController();
  await using session = await openSession({ connectionString: database.url }, { signal });
  const endsOf = async (upTo: Lsn, advanceTo: Lsn | null): Promise<Lsn[]> => {
    const found: Lsn[] = [];
    const onMessage = (message: Buffer): void => {
      if (message[0] === "C".charCodeAt(0)) found.push(toLsn(message.readBigUInt64BE(10)));
    };
    const options = { session, slot: slots.ours, publication: "firstlight", onMessage };
    for await (const _ of peek({ ...options, until: upTo, advanceTo })) continue;
    return found;
  };
  const one = await endsOf(first.end, null);
  expect(one.at(-1)).toBe(first.end);
  const end = await serverLsn(database.url);
  expect(await endsOf(end, first.end)).toEqual([second.end]);
  expect(await confirmedFlush(client, slots.ours)).toBe(first.end);
  expect(await endsOf(end, second.end)).toEqual([]);
});

test("two adjacent commits: one byte too many acknowledged, and the server never sends the second", async () => {
  await using database = await createDatabase();
  const { client, slots, first, jobs } = await adjacentCommits(database);
  const tooFar = toLsn(first.end + 1n);
  {
    await using stream = await open({ database, slot: slots.ours, start: slots.start, jobs });
    await drain(stream, { database, from: slots.start });
    stream.durable(tooFar);
    await until(
      "it is acknowledged",
      async () => (await confirmedFlush(client, slots.ours)) === tooFar,
    );
  }
  await using stream = await open({ database, slot: slots.ours, start: slots.start, jobs });
  expect(await drain(stream, { database, from: slots.start })).toEqual([]);
});

interface Commit {
  /** Where its record starts, and the first byte after it. */
  readonly start: Lsn;
  readonly end: Lsn;
}

interface Adjacent {
  readonly client: pg.Client;
  readonly slots: { readonly ours: string; readonly start: Lsn };
  readonly first: Commit & { readonly job: Uuid };
  readonly second: Commit & { readonly job: Uuid };
  /** Everything the sieve waits for. */
  readonly jobs: readonly Uuid[];
}

/** Ends two jobs in two sessions at once, until a slot shows that the commits of the last pair are adjacent. */
async function adjacentCommits(database: TestDatabase): Promise<Adjacent> {
  const client = await database.client();
  await publish(client);
  const made = await HandMade.on(client);
  const sessions = [await database.client(), await database.client()] as const;
  const slots = { ours: uniqueSlot(), witness: uniqueSlot() };
  const start = await createSlot(client, slots.ours);
  await client.query("select pg_copy_logical_replication_slot($1, $2)", [
    slots.ours,
    slots.witness,
  ]);
  const jobs: Uuid[] = [];
  for (let tries = 0; tries < TRIES; tries += 1) {
    const pair = [
      await made.job("workspace_build", JOBS.running),
      await made.job("workspace_build", JOBS.running),
    ] as const;
    jobs.push(...pair);
    // The rows first, so that nothing but the commits remains to be written.
    for (const [index, session] of sessions.entries()) {
      await session.query("begin");
      await session.query("update provisioner_jobs set completed_at = $2 where id = $1", [
        pair[index],
        JOBS.succeeded.completed_at,
      ]);
    }
    await Promise.all(sessions.map(async (session) => session.query("commit")));
    const seen = (await commits(client, slots.witness)).slice(-2);
    const [first, second] = seen;
    if (first && second && first.end === second.start) {
      return { client, slots: { ours: slots.ours, start }, first, second, jobs };
    }
  }
  throw new Error(`no adjacent commits in ${TRIES} tries`);
}

/** Commits that ended a job, in order, as a slot has them; it keeps them. */
async function commits(client: pg.Client, slot: string): Promise<(Commit & { job: Uuid })[]> {
  const found: (Commit & { job: Uuid })[] = [];
  let job: Uuid | undefined;
  for (const message of await record(client, slot, { binary: false })) {
    const tag = String.fromCharCode(message[0] ?? 0);
    if (tag === "U") job = /[0-9a-f-]{36}/.exec(message.toString("latin1"))?.[0];
    if (tag !== "C" || job === undefined) continue;
    // https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html: flags, start, end, time.
    found.push({
      job,
      start: toLsn(message.readBigUInt64BE(2)),
      end: toLsn(message.readBigUInt64BE(10)),
    });
    job = undefined;
  }
  return found;
}

/** Opens the slot as the follower does; retried for the moment that the server needs to see that the last reader is gone. */
async function open(options: {
  readonly database: TestDatabase;
  readonly slot: string;
  readonly start: Lsn;
  readonly jobs: readonly Uuid[];
}): Promise<Stream> {
  let stream: Stream | undefined;
  await until("the slot is free", async () => {
    const waiting = new Waiting();
    for (const job of options.jobs) waiting.addJob(job);
    stream = await openStream({
      clientConfig: { connectionString: options.database.url },
      slot: options.slot,
      publication: "firstlight",
      start: options.start,
      waiting,
      counts: newCounts(),
      onUnknown: () => undefined,
      signal: new AbortController().signal,
    }).catch((error: unknown) => {
      if ((error as { reason?: string }).reason === "slot_in_use") return undefined;
      throw error;
    });
    return stream !== undefined;
  });
  return must(stream, "no stream");
}

/** Everything that the server has to send, with nothing acknowledged but where the stream began. */
async function drain(
  stream: Stream,
  { database, from }: { readonly database: TestDatabase; readonly from: Lsn },
): Promise<readonly Tx[]> {
  const done = new AbortController();
  const txs: Tx[] = [];
  const reading = (async () => {
    for await (const batch of stream.batches(done.signal)) txs.push(...batch.txs);
  })();
  stream.durable(from);
  const target = await serverLsn(database.url);
  await until("all is received", () => {
    stream.ping();
    return stream.received >= target && stream.idle;
  });
  done.abort();
  await reading;
  return txs;
}

function ends(txs: readonly Tx[]): Lsn[] {
  return txs.map(({ end }) => end);
}
