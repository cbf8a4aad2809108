// Between two bursts nobody holds the slot, so somebody else can use it: another Firstlight, which must wait for the first one,
// or a hand, whose moves are found before anything of the next burst counts.

import type pg from "pg";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { createDatabase } from "../../support/database.ts";
import { expectSumsEqualRecount } from "../../support/exact.ts";
import {
  type Firstlight,
  type InProcess,
  publish,
  startInProcess,
  startProcess,
  uniqueSlot,
  until,
} from "../../support/firstlight.ts";
import { HandMade, JOBS } from "../../support/hand-made.ts";
import { valueOf } from "../../support/scrape.ts";
import { expectAccounted } from "../support/accounted.ts";
import { RECOVERS_WITHIN_MS, type Scene, gaps, said, scene } from "../support/scene.ts";

const LONG = { timeout: 120_000 };
const timing = { backOffUpToMs: 300 };
const REFUSALS = 4;
/** Long enough to do something between two bursts. */
const PAUSE = { FIRSTLIGHT_READ_EVERY: "4s" };

function reasons({ log }: Pick<Firstlight, "log">): unknown[] {
  return said(log, "not following, will try again").map(({ reason }) => reason);
}

/** Was refused a few times more, for this reason alone, and has done nothing else. */
async function expectWaiting(second: InProcess): Promise<void> {
  const before = reasons(second).length;
  await until("it was refused", () => reasons(second).length >= before + REFUSALS);
  expect(new Set(reasons(second))).toEqual(new Set(["slot_in_use"]));
  expect(said(second.log, "following")).toEqual([]);
  expect(second.log.filter((line) => line.includes("baseline begins"))).toEqual([]);
  const page = await second.scrape();
  expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
  expect(valueOf(page, "firstlight_stream_connected")).toBe(0);
  expect(page.hasTotals).toBe(false);
  expect(gaps(page)).toEqual({});
}

for (const [one, other] of [
  ["100ms", "100ms"],
  ["100ms", "0"],
  ["0", "100ms"],
] as const) {
  test(
    `two processes with stores of their own on one slot, reading every ${one} and ${other}: one counts, the other takes over`,
    LONG,
    async () => {
      await using database = await createDatabase();
      await using folder = await temporaryFolder();
      const client = await database.client();
      await publish(client);
      const made = await HandMade.on(client);
      const work = async (job: (typeof JOBS)[keyof typeof JOBS]): Promise<void> => {
        // As Coder does it: a job and its build together.
        await client.query("begin");
        await made.build({ job });
        await client.query("commit");
      };
      const [url, slot] = [database.url, uniqueSlot()];
      const first = {
        url,
        slot,
        statePath: folder.path("first.db"),
        env: { FIRSTLIGHT_READ_EVERY: one },
      };
      const second = {
        url,
        slot,
        statePath: folder.path("second.db"),
        timing,
        env: { FIRSTLIGHT_READ_EVERY: other },
      };
      await work(JOBS.succeeded);
      await using counting = await startProcess(first);
      await counting.caughtUp();
      {
        await using waiting = await startInProcess(second);
        await expectWaiting(waiting);
        await work(JOBS.failed);
        const page = await counting.caughtUp();
        await expectWaiting(waiting);
        await expectSumsEqualRecount(client, page);
        expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
        expect(gaps(page)).toEqual({});

        await counting.kill();
        await work(JOBS.canceling);
        const over = await waiting.caughtUp(RECOVERS_WITHIN_MS);
        await expectSumsEqualRecount(client, over);
        expect(valueOf(over, "firstlight_baselines_total")).toBe(1);
        expect(gaps(over)).toEqual({});

        // The first comes back, waits in its turn, and learns in the end what it missed.
        await using back = await startInProcess({ ...first, timing });
        await expectWaiting(back);
        await work(JOBS.failed);
        await expectSumsEqualRecount(client, await waiting.caughtUp());
        expect(valueOf(await waiting.scrape(), "firstlight_baselines_total")).toBe(1);
        await waiting[Symbol.asyncDispose]();
        const healed = await back.caughtUp(RECOVERS_WITHIN_MS);
        await expectSumsEqualRecount(client, healed);
        expect(gaps(healed)).toEqual({ slot_ahead: 1 });
        expect(valueOf(healed, "firstlight_baselines_total")).toBe(1);
      }
      await expectAccounted(client, first.statePath);
      await expectAccounted(client, second.statePath);
    },
  );
}

type Meddler = (client: pg.Client, slot: string) => Promise<unknown>;

const advance: Meddler = async (client, slot) =>
  client.query("select pg_replication_slot_advance($1, pg_current_wal_flush_lsn())", [slot]);

const MEDDLERS: Readonly<Record<string, Meddler>> = {
  "moves the slot past news by hand": advance,
  "reads news from the slot": async (client, slot) =>
    client.query(
      `select count(*) from pg_logical_slot_get_binary_changes($1, null, null,
         'proto_version', '1', 'publication_names', 'firstlight')`,
      [slot],
    ),
  "drops the slot and makes it again": async (client, slot) => {
    await client.query("select pg_drop_replication_slot($1)", [slot]);
    await client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  },
};

for (const [does, meddle] of Object.entries(MEDDLERS)) {
  test(`between two bursts somebody ${does}: one gap, healed, exact`, LONG, async () => {
    await scene({}, async (on) => {
      const { client, made, slot } = on;
      await made.build({ job: JOBS.succeeded });
      await on.follow(PAUSE);
      await justRead(on);
      await on.inOne(() => made.build({ job: JOBS.failed }));
      await meddle(client, slot);
      await on.inOne(() => made.build({ job: JOBS.canceling }));
      await until(
        "the gap is found",
        async () => gaps(await on.firstlight.scrape())["slot_ahead"] === 1,
        RECOVERS_WITHIN_MS,
      );
      await on.inOne(() => made.build({ job: JOBS.succeeded }));
      const page = await on.shown();
      expect(gaps(page)).toEqual({ slot_ahead: 1 });
      expect(valueOf(page, "firstlight_baselines_total")).toBe(2);
      expect(reasons(on.firstlight)).toEqual(["slot_moved"]);
      await expectSumsEqualRecount(client, page);
      await on.leave();
      await expectAccounted(client, on.statePath);
    });
  });
}

test(
  "between two bursts somebody moves the slot, but not past what is stored: no gap",
  LONG,
  async () => {
    await scene({}, async (on) => {
      const { client, made, slot } = on;
      await made.build({ job: JOBS.succeeded });
      await on.follow(PAUSE);
      const stored = await justRead(on);
      // The next burst would have moved it there.
      await client.query("select pg_replication_slot_advance($1, $2::pg_lsn)", [slot, stored]);
      await on.inOne(() => made.build({ job: JOBS.failed }));
      await until("it is noticed", () => reasons(on.firstlight).length > 0, RECOVERS_WITHIN_MS);
      const page = await on.shown();
      expect(reasons(on.firstlight)).toEqual(["slot_moved"]);
      expect(gaps(page)).toEqual({});
      expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
      await expectSumsEqualRecount(client, page);
      await on.leave();
      await expectAccounted(client, on.statePath);
    });
  },
);

/** Waits until a burst has just been stored; gives its position, which is not acknowledged before the next one. */
async function justRead({ firstlight, client }: Scene): Promise<string> {
  const stored = async (): Promise<string> =>
    ((await (await firstlight.get("/api/status")).json()) as { durable: string }).durable;
  const before = await stored();
  await client.query("select pg_logical_emit_message(true, 'something', 'new')");
  await until("a burst is stored", async () => (await stored()) !== before);
  return stored();
}
