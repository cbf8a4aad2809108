// The ledger's disk is full: nothing is shown that it does not have, nothing is acknowledged, and all is exact once there is
// space again. Needs a small file system of its own, which only root can mount; elsewhere it skips and says so.

import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type pg from "pg";
import { expect, test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { NeedsOperator } from "../../src/errors.ts";
import { Store } from "../../src/store/store.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { publish, startInProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { CATALOG } from "../support/ledger.ts";
import { recount } from "../support/recount.ts";
import { type Scrape, sumOf, valueOf } from "../support/scrape.ts";
import { mountable, smallDisk } from "../support/small-disk.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;
/** The longest back-off, and what catching up takes. */
const RECOVERS_WITHIN_MS = 40_000;
const ATTEMPTS = "coderd_workspace_creation_attempts_total";
const ALL_TIME = /^coderd_.*(_total|_bucket|_sum|_count|_in_flight)\{/;

if (!mountable) process.stderr.write("SKIPPED: full disk (only root can mount a small one)\n");

async function confirmed(client: pg.Client, slot: string): Promise<string | undefined> {
  const { rows } = await client.query<{ lsn: string }>(
    "select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = $1",
    [slot],
  );
  return rows[0]?.lsn;
}

function totals(scrape: Scrape): Record<string, number> {
  return Object.fromEntries([...scrape.series].filter(([name]) => ALL_TIME.test(name)));
}

test.skipIf(!mountable)(
  "while the disk is full nothing is shown or acknowledged; with space again it is exact",
  async () => {
    using disk = smallDisk();
    if (!disk) throw new Error("it could be mounted a moment ago");
    await using database = await createDatabase();
    const client = await database.client();
    await publish(client);
    const slot = uniqueSlot();
    const statePath = join(disk.folder, "firstlight.db");
    await using simulation = openSimulation({ url: database.url, seed: 1, startAt: START_AT });
    await simulation.seedDeployment();
    await simulation.run({ workflows: 10 });
    {
      await using firstlight = await startInProcess({ url: database.url, statePath, slot });
      await firstlight.caughtUp();
      await disk.fill(0);
      await simulation.run({ workflows: 30 });
      const refusals = (): number =>
        firstlight.log.filter((line) => line.includes('"reason":"store"')).length;
      const state = async (): Promise<unknown> => [
        totals(await firstlight.scrape()),
        await confirmed(client, slot),
      ];
      // Small commits may still fit into what the files have already; then nothing does.
      await until(
        "nothing moved from one refusal to the next",
        async () => {
          const [was, seen] = [await state(), refusals()];
          await until("the disk refuses", () => refusals() > seen, RECOVERS_WITHIN_MS);
          return isDeepStrictEqual(await state(), was);
        },
        RECOVERS_WITHIN_MS,
      );
      const shown = await firstlight.scrape();
      const { attempts } = await recount(client);
      expect(sumOf(shown, ATTEMPTS)).toBeLessThan([...attempts.values()].reduce((a, b) => a + b));
      expect((await firstlight.get("/readyz")).status).toBe(200);
      expect(await (await firstlight.get("/api/status")).json()).toMatchObject({
        state: "not following",
        trouble: { reason: "store", message: expect.stringContaining("full") },
      });

      await disk.clear();
      const after = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
      await expectSumsEqualRecount(client, after);
      expect(valueOf(after, "firstlight_baselines_total")).toBe(1);
      expect(sumOf(after, ATTEMPTS)).toBeGreaterThan(sumOf(shown, ATTEMPTS));
    }
    await expectLedgerEqualsTables(client, statePath, simulation);
  },
);

test.skipIf(!mountable)("a store that can not be made for want of space says so", async () => {
  using disk = smallDisk();
  if (!disk) throw new Error("it could be mounted a moment ago");
  await disk.fill(0);
  const opening = (): Store =>
    Store.open({ path: join(disk.folder, "firstlight.db"), catalog: CATALOG });
  expect(opening).toThrow(NeedsOperator);
  expect(opening).toThrow(/can not be written: .*full/);
});
