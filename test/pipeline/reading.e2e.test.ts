// Bursts and streams: when the one goes over to the other, and that nothing is lost or held up by it.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { formatLsn } from "../../src/lsn.ts";
import { ownServer } from "../crash/support/own-server.ts";
import { storedEnd } from "../crash/support/stored.ts";
import { endAllJobs } from "../faults/support/bulk.ts";
import { startProxy } from "../faults/support/proxy.ts";
import { gapsOf } from "../standby/support/site.ts";
import { expectSumsEqualRecount } from "../support/exact.ts";
import { type InProcess, startInProcess, until } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import { valueOf } from "../support/scrape.ts";
import { RECOVERS_WITHIN_MS, scene } from "./support/scene.ts";

const LONG = { timeout: 120_000 };
/** More than may be read again with each burst. */
const MANY_MEBIBYTES = 96;
const SILENCE_MS = 3_000;

/** How the slot has been read, in turn. */
function readings({ log }: InProcess): string[] {
  return log
    .filter((line) => line.includes('"following"'))
    .map((line) => (JSON.parse(line) as { reading: string }).reading);
}

test(
  "a transaction that stays open must not make every burst read all of its WAL again: a stream takes over, and gives back",
  LONG,
  async () => {
    // A server of its own: an open transaction holds back every slot that is made meanwhile.
    await using server = await ownServer();
    const [client, holder] = [await server.client(), await server.client()];
    const made = await HandMade.on(client);
    {
      await using firstlight = await startInProcess({
        url: server.url,
        env: { FIRSTLIGHT_READ_EVERY: "100ms" },
      });
      await firstlight.caughtUp();
      await holder.query("begin; select pg_logical_emit_message(true, 'open', 'x')");
      // Bursts go on meanwhile, each over more WAL that it has seen before.
      for (let i = 0; i < MANY_MEBIBYTES / 4; i += 1) {
        await client.query("select pg_logical_emit_message(false, 'filler', repeat('x', 4194304))");
        await firstlight.caughtUp();
      }
      await made.build({ job: JOBS.pending });
      await until("a stream took over", () => readings(firstlight).at(-1) === "stream");
      await made.build({ job: JOBS.pending });
      await endAllJobs(client);
      await expectSumsEqualRecount(client, await firstlight.caughtUp());
      await holder.query("commit");
      await until(
        "bursts again",
        async () => {
          // The server tells its running transactions now and then; what stood open is over by then.
          await client.query("checkpoint");
          await made.build({ job: JOBS.pending });
          await sleep(500);
          return readings(firstlight).at(-1) === "bursts";
        },
        RECOVERS_WITHIN_MS,
      );
      const page = await firstlight.caughtUp();
      await expectSumsEqualRecount(client, page);
      expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
      expect(readings(firstlight)).toEqual(["bursts", "stream", "bursts"]);
    }
  },
);

test(
  "a burst whose answer never comes, while the server lives, is given up: its connection was lost",
  LONG,
  async () => {
    await scene(async ({ client, made, target }) => {
      let swallow = true;
      await using proxy = await startProxy({
        port: Number(new URL(target.url).port),
        onMessage: (message, link) => {
          if (swallow && String(message).includes("peek_binary_changes")) {
            swallow = false;
            link.set({ toServer: { kind: "blackhole" }, toClient: { kind: "blackhole" } });
          }
          return message;
        },
      });
      await using firstlight = await startInProcess({
        ...target,
        url: proxy.url(target.url),
        timing: { silenceMs: SILENCE_MS, backOffUpToMs: 200 },
        env: { FIRSTLIGHT_READ_EVERY: "100ms" },
      });
      await firstlight.caughtUp();
      await made.build({ job: JOBS.pending });
      await until("its answer is lost", () => !swallow);
      const page = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
      await expectSumsEqualRecount(client, page);
      expect(valueOf(page, "firstlight_reconnects_total")).toBeGreaterThan(0);
      expect(gapsOf(page)).toEqual({});
    });
  },
);

test("0 streams, and a temporary slot streams whatever is asked", LONG, async () => {
  for (const env of [
    { FIRSTLIGHT_READ_EVERY: "0" },
    { FIRSTLIGHT_READ_EVERY: "100ms", FIRSTLIGHT_TEMPORARY_SLOT: "true" },
  ]) {
    await scene(async ({ client, made, target }) => {
      await using firstlight = await startInProcess({ ...target, env });
      await made.build({ job: JOBS.running });
      await expectSumsEqualRecount(client, await firstlight.caughtUp());
      expect(readings(firstlight)).toEqual(["stream"]);
    });
  }
});

test("between two bursts nobody holds the slot, and it still counts as in use", async () => {
  await scene(async ({ client, target }) => {
    await using firstlight = await startInProcess({
      ...target,
      env: { FIRSTLIGHT_READ_EVERY: "5s" },
    });
    await firstlight.caughtUp();
    const { rows } = await client.query(
      "select active_pid from pg_replication_slots where slot_name = $1",
      [target.slot],
    );
    expect(rows).toEqual([{ active_pid: null }]);
    await until(
      "the metric has been asked for",
      async () => valueOf(await firstlight.scrape(), "firstlight_slot_active") === 1,
    );
    const page = await firstlight.scrape();
    expect(valueOf(page, "firstlight_stream_connected")).toBe(1);
  });
});

test("a stop between two bursts acknowledges what is durable, and does not wait for the next one", async () => {
  await scene(async ({ client, made, target }) => {
    {
      await using firstlight = await startInProcess({
        ...target,
        env: { FIRSTLIGHT_READ_EVERY: "10s" },
      });
      await firstlight.caughtUp();
      await made.build({ job: JOBS.running });
      await firstlight.caughtUp(RECOVERS_WITHIN_MS);
      const began = performance.now();
      await firstlight[Symbol.asyncDispose]();
      expect(performance.now() - began).toBeLessThan(5_000);
    }
    const { rows } = await client.query(
      "select confirmed_flush_lsn::text as confirmed from pg_replication_slots where slot_name = $1",
      [target.slot],
    );
    expect(rows).toEqual([{ confirmed: formatLsn(storedEnd(target.statePath)) }]);
  });
});
