// What the server forgets in a crash and what a transaction outlives: positions that the slot goes back to, and a transaction
// that was open while everything before its commit was confirmed.
//
// FIRSTLIGHT_TEST_CRASHES: how often the server crashes. Default 10.

import { expect, test, vi } from "vitest";
import type pg from "pg";
import { type Lsn, formatLsn, parseLsn } from "../../../src/lsn.ts";
import { must } from "../../../src/errors.ts";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { ownServer } from "../../crash/support/own-server.ts";
import { report } from "../../crash/support/report.ts";
import { confirmedFlush } from "../../crash/support/slots.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../../support/exact.ts";
import { IN_BURSTS, serverLsn, startProcess, uniqueSlot, until } from "../../support/firstlight.ts";
import { HandMade, JOBS } from "../../support/hand-made.ts";
import { regressions, sumOf } from "../../support/scrape.ts";
import { RECOVERS_WITHIN_MS, expectUndisturbed, openNetwork } from "../support/network.ts";
import { type Link, startProxy } from "../support/proxy.ts";
import { said as logged } from "../support/scene.ts";
import { withWalSenderTimeout } from "../support/wire.ts";

// Most of the time is waiting, which a busy machine makes longer.
vi.setConfig({ testTimeout: 180_000 });

const ROUNDS = Number(process.env["FIRSTLIGHT_TEST_CRASHES"] ?? 10);
const OPEN_ROUNDS = 3;
const ATTEMPTS = "coderd_workspace_creation_attempts_total";

test(
  "a server that crashes between checkpoints sends again what was counted: nothing is counted twice",
  { timeout: 60_000 + ROUNDS * 20_000 },
  async () => {
    await using server = await ownServer();
    await using network = await openNetwork({ place: server });
    const { simulation, proxy, target } = network;
    await simulation.run({ workflows: 10 });
    await using firstlight = await network.follow({ timing: { backOffUpToMs: 200 } });
    let before = await firstlight.caughtUp();
    let wentBack = 0;
    let replayed = 0n;
    for (let round = 0; round < ROUNDS; round += 1) {
      await simulation.run({ workflows: 10 });
      await firstlight.caughtUp();
      const acknowledged = must(said(proxy.links).at(-1), "said nothing");
      // More that is not acknowledged, and may be cut off in the middle.
      await simulation.run({ workflows: 3 });
      await server.stop("immediate");
      await proxy.refuse();
      await server.start();
      const slot = await confirmedFlush(await server.client(), target.slot);
      const links = proxy.links.length;
      await proxy.admit();
      const after = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
      expect(regressions(before, after)).toEqual([]);
      before = after;

      // It begins where the server has the slot, below what that was told before it fell.
      const following = must(logged(firstlight.log, "following").at(-1), "does not follow");
      expect(following["from"]).toBe(formatLsn(slot));
      // A stream says so first of all; in bursts nothing is said before more is stored.
      const saidSince = (): readonly Lsn[] => said(proxy.links.slice(links));
      await until("something is said", () => saidSince().length > 0);
      const [first] = saidSince();
      if (IN_BURSTS) expect(first).toBeGreaterThan(slot);
      else expect(first).toBe(slot);
      if (slot >= acknowledged) continue;
      wentBack += 1;
      replayed += acknowledged - slot;
    }
    expectUndisturbed(await network.finish(firstlight));
    report("crashes of the server", {
      rounds: ROUNDS,
      "the slot went back": wentBack,
      "bytes replayed": String(replayed),
    });
    expect(wentBack).toBeGreaterThan(ROUNDS / 2);
  },
);

test("an open transaction, everything before its commit confirmed, the client dies: the commit arrives", async () => {
  await using server = await ownServer();
  const [writer, admin] = [await server.client(), await server.client()];
  await using folder = await temporaryFolder();
  const made = await HandMade.on(writer);
  // Asked once a second, it stores and confirms where it stands, which takes 10 s otherwise.
  await using proxy = await startProxy({
    port: Number(new URL(server.url).port),
    onMessage: (message) => withWalSenderTimeout(message, "2s"),
  });
  const target = {
    url: proxy.url(server.url),
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
  };
  let adjacent = 0;
  for (let round = 1; round <= OPEN_ROUNDS; round += 1) {
    {
      await using firstlight = await startProcess(target);
      await firstlight.caughtUp();
      await writer.query("begin");
      await made.build({ job: JOBS.succeeded });
      // Flushed by somebody else's commit, as on a busy server.
      await admin.query("select pg_logical_emit_message(true, 'other', '')");
      const end = await serverLsn(server.url);
      await until(
        "everything that is written is confirmed",
        async () => (await confirmedFlush(admin, target.slot)) >= end,
      );
      await firstlight.kill();
    }
    const confirmed = await confirmedFlush(admin, target.slot);
    if ((await insertLsn(admin)) === confirmed) adjacent += 1;
    await writer.query("commit");
    await using firstlight = await startProcess(target);
    const page = await firstlight.caughtUp();
    expect(sumOf(page, ATTEMPTS)).toBe(round);
    await expectSumsEqualRecount(admin, page);
    expectUndisturbed(page, 0);
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedgerEqualsTables(admin, target.statePath);
  report("transactions that were open at the end", {
    rounds: OPEN_ROUNDS,
    "nothing before the commit": adjacent,
  });
  expect(adjacent).toBeGreaterThan(0);
});

function said(links: readonly Link[]): readonly Lsn[] {
  return links.flatMap(({ acknowledged }) => acknowledged);
}

/** Where the next record will start. */
async function insertLsn(client: pg.Client): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: string }>(
    "select pg_current_wal_insert_lsn()::text as lsn",
  );
  return parseLsn(must(rows[0], "no position").lsn);
}
