// Coder is idle and its neighbour is busy: the WAL that our slot holds back on the standby stays bounded, although nothing can
// be written there. FIRSTLIGHT_TEST_MEGABYTES says how much the neighbour writes.

import { expect, test } from "vitest";
import { startInProcess } from "../support/firstlight.ts";
import { ask, connect, logStandbySnapshot } from "../support/standby.ts";
import { report } from "../crash/support/report.ts";
import { expectExact, firstTotals, openSite } from "./support/site.ts";

const MEGABYTES = Number(process.env["FIRSTLIGHT_TEST_MEGABYTES"] ?? 600);
const STEP = 20;
/** A stretch without news is stored and acknowledged after this much. */
const STORED_EVERY = 64;
/**
 * The server lets go of WAL up to a running-xacts record when a later one is acknowledged, and looks for the next such record
 * only then: two stretches, the one that is not due yet, and what is on its way. A stretch may be longer by what comes within a
 * second, which is how often it is looked at. Well below what is written: without an acknowledgement all of it is held back.
 */
const BOUND = 7 * STORED_EVERY;

test("a busy neighbour on the primary, an idle Coder: retained WAL stays bounded on the standby", async () => {
  await using site = await openSite({ settings: { max_wal_size: "4GB" } });
  const { primary } = site;
  const standby = await site.standby();
  await using firstlight = await startInProcess(site.target(standby));
  await firstTotals(primary, firstlight);
  const before = await expectExact(firstlight, { primary, standby });
  await ask(primary, "create database neighbour");
  await using neighbour = await connect(primary.url("neighbour"));
  let most = 0;
  for (let written = 0; written < MEGABYTES; written += STEP) {
    await neighbour.query(
      "select pg_logical_emit_message(true, 'neighbour', repeat('x', 1024 * 1024)) from generate_series(1, $1)",
      [STEP],
    );
    // A server writes such a record every 15 s while there is traffic: far less than this for as much WAL.
    await logStandbySnapshot(primary);
    // How fast the standby replays and decodes is not what is asked.
    await standby.waitFor(primary);
    await firstlight.caughtUp();
    most = Math.max(most, await retained(standby));
  }
  report("an idle standby with a busy neighbour", {
    "megabytes written": MEGABYTES,
    "megabytes retained at most": most,
  });
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(BOUND);
  await site.simulation.run({ workflows: 5 });
  const after = await expectExact(firstlight, { primary, standby });
  expect(after.series.get("firstlight_reconnects_total")).toBe(
    before.series.get("firstlight_reconnects_total"),
  );
}, 120_000);

/** By our slot, in megabytes. */
async function retained(standby: Parameters<typeof ask>[0]): Promise<number> {
  const [slot] = await ask<{ megabytes: number }>(
    standby,
    `select round(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), restart_lsn) / 1048576)::int as megabytes
     from pg_replication_slots where not temporary`,
  );
  return slot?.megabytes ?? 0;
}
