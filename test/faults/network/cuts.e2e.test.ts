// The network breaks at random bytes, also inside a frame, in either direction, of the stream and of the session beside it.
//
// FIRSTLIGHT_TEST_CUTS=1000: so many cuts, however long they take. Default: as many as fit into 45 s.
// FIRSTLIGHT_TEST_SEED: another course of events.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { Random } from "../../../src/demo/coder/random.ts";
import { formatLsn, type Lsn } from "../../../src/lsn.ts";
import { confirmedFlush } from "../../crash/support/slots.ts";
import { report } from "../../crash/support/report.ts";
import { IN_BURSTS, until } from "../../support/firstlight.ts";
import { valueOf } from "../../support/scrape.ts";
import { expectUndisturbed, openNetwork, startLoad } from "../support/network.ts";
import type { Link, Modes } from "../support/proxy.ts";

// Most of the time is waiting, which a busy machine makes longer.
vi.setConfig({ testTimeout: 180_000 });

const ASKED = process.env["FIRSTLIGHT_TEST_CUTS"];
const CUTS = Number(ASKED ?? 1_000);
const SEED = Number(process.env["FIRSTLIGHT_TEST_SEED"] ?? 1);
const LIMIT_MS = ASKED === undefined ? 45_000 : Number.POSITIVE_INFINITY;
/** However slow the machine is. */
const LEAST = 50;
const DAY_MS = 86_400_000;
/** Bytes each way: connecting a stream takes about 1,000, connecting a session 14,000, after which there are look-ups, or bursts. */
const MOST_BYTES = {
  replication: { toServer: 1_500, toClient: 20_000 },
  sql: { toServer: 25_000, toClient: 25_000 },
} as const;

/** Half of the cuts come early: every magnitude is as likely as any other. The other half come anywhere. */
function randomCut(random: Random, { replication }: Link): Modes {
  const direction = random.chance(0.5) ? "toServer" : "toClient";
  const most = MOST_BYTES[replication ? "replication" : "sql"][direction];
  const after = random.chance(0.5) ? most ** random.fraction() : most * random.fraction();
  return {
    [direction]: {
      kind: "cut",
      after: Math.ceil(after),
      how: random.chance(0.5) ? "reset" : "end",
    },
  };
}

test(
  "totals are exact after cuts at random bytes under load, and nothing that was acknowledged is taken back",
  { timeout: 180_000 + CUTS * 1_000 },
  async () => {
    const random = new Random(SEED);
    let cutting = false;
    let before: Link | undefined;
    const onLink = (link: Link): void => {
      // A session and a question who answers come first: were they cut as often as what reads, hardly any would begin.
      const reads = before?.replication && link.replication !== IN_BURSTS;
      if (cutting && (reads || random.chance(0.15))) link.set(randomCut(random, link));
      before = link;
    };
    await using network = await openNetwork({
      onLink,
      simulation: { seed: SEED, startAt: (Date.now() - DAY_MS) * 1000 },
    });
    const { simulation, proxy, client, target } = network;
    await simulation.run({ workflows: 20 });
    await using firstlight = await network.follow({ timing: { backOffUpToMs: 20 } });
    await firstlight.caughtUp();
    await using load = startLoad(simulation);

    const began = Date.now();
    const done = (): readonly Link[] => proxy.links.filter(({ cut }) => cut);
    const whileFollowing = (): number =>
      done().filter(({ acknowledged }) => acknowledged.length > 0).length;
    const enough = (): boolean =>
      done().length >= CUTS ||
      (Date.now() - began > LIMIT_MS && done().length >= LEAST && whileFollowing() >= LEAST / 5);
    let confirmed: Lsn = await confirmedFlush(client, target.slot);
    cutting = true;
    for (const link of proxy.links) link.set(randomCut(random, link));
    while (!enough()) {
      const now = await confirmedFlush(client, target.slot);
      expect(now >= confirmed, `${formatLsn(now)} after ${formatLsn(confirmed)}`).toBe(true);
      confirmed = now;
      await sleep(50);
    }
    const seconds = Math.round((Date.now() - began) / 1000);
    cutting = false;
    proxy.setAll({ toServer: { kind: "pass" }, toClient: { kind: "pass" } });
    await load.stop();
    await simulation.run({ workflows: 0 });
    const page = await network.finish(firstlight);

    expectUndisturbed(page);
    for (const link of proxy.links) expectFlushNeverFalls(link);
    report("random cuts", {
      cuts: done().length,
      seconds,
      "of what reads the slot": done().filter(({ reads }) => reads).length,
      "while following": whileFollowing(),
      reconnects: valueOf(page, "firstlight_reconnects_total"),
      "bytes followed": proxy.links.reduce((sum, { bytes }) => sum + bytes.toClient, 0),
    });
  },
);

test("a baseline that is cut again and again leaves nothing behind, and is exact in the end", async () => {
  const random = new Random(SEED);
  let cuts = 30;
  const onLink = (link: Link): void => {
    // The first session finds the database fit, or there would be no second attempt.
    if (link.index === 0 || cuts === 0) return;
    cuts -= 1;
    link.set(randomCut(random, link));
  };
  await using network = await openNetwork({ onLink, simulation: { seed: SEED } });
  const { simulation, client, proxy } = network;
  await simulation.run({ workflows: 300 });
  await using firstlight = await network.follow({ timing: { backOffUpToMs: 20 } });
  await until(
    "it follows",
    () => firstlight.log.some((line) => line.includes('"following"')),
    60_000,
  );
  // What asks the server from here on is the test, by the same way.
  cuts = 0;
  const page = await network.finish(firstlight);
  expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
  const { rows } = await client.query(
    "select temporary from pg_replication_slots where database = current_database()",
  );
  expect(rows).toEqual([{ temporary: false }]);
  const cut = proxy.links.filter((link) => link.cut);
  report("cuts of a baseline", {
    cuts: cut.length,
    reconnects: valueOf(page, "firstlight_reconnects_total"),
  });
  expect(cut.length).toBeGreaterThan(5);
});

/** Each reading starts where the server has the slot; from there on we may only go forward. */
function expectFlushNeverFalls({ statuses, acknowledged }: Link): void {
  expect(acknowledged).toEqual([...acknowledged].sort((a, b) => (a < b ? -1 : 1)));
  let last = 0n;
  for (const { write, flush, apply } of statuses) {
    expect(flush).toBeGreaterThanOrEqual(last);
    expect([write, apply]).toEqual([flush, flush]);
    last = flush;
  }
}
