// The first baseline, on a primary and on a standby, while Coder writes and transactions are open for long: exact when it
// has ended, and after an hour of traffic. FIRSTLIGHT_TEST_RUNS repeats it with other seeds.

import { expect, test } from "vitest";
import type { Simulation } from "../../src/demo/coder/simulation.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { startInProcess, until } from "../support/firstlight.ts";
import { regressions, valueOf } from "../support/scrape.ts";
import { connect } from "../support/standby.ts";
import { report } from "../crash/support/report.ts";
import { startNoise } from "./support/noise.ts";
import { expectExact, expectNoGap, firstTotals, openSite, urlOf } from "./support/site.ts";

const RUNS = Number(process.env["FIRSTLIGHT_TEST_RUNS"] ?? 2);
/** One comes every six seconds of simulated time. */
const AN_HOUR = 600;

const runs = Array.from({ length: RUNS }, (_, index) => index + 1);
const cases = (["primary", "standby"] as const).flatMap((where) =>
  runs.map((seed) => ({ where, seed })),
);

test.each(cases)(
  "on a $where, seed $seed: exact after a baseline under load, and after an hour of traffic",
  async ({ where, seed }) => {
    await using site = await openSite({ seed, history: 60 });
    const standby = where === "standby" ? await site.standby() : undefined;
    const followed = standby ?? site.primary;
    const target = site.target(followed);
    {
      await using traffic = startTraffic(site.simulation);
      await using noise = startNoise(urlOf(site.primary), seed);
      await until("all of them write", () => noise.committed > 3);
      const before = noise.committed + noise.rolledBack;
      await using firstlight = await startInProcess(target);
      await firstTotals(site.primary, firstlight);
      expect(noise.committed + noise.rolledBack, "nothing was written").toBeGreaterThan(before);
      if (standby) {
        // Coder and the others go on; here the tables stand still, so that they can be compared at one LSN.
        await standby.pauseReplay();
        await using client = await connect(urlOf(standby));
        await expectSumsEqualRecount(client, await firstlight.caughtUp());
        await standby.resumeReplay();
      }
      await traffic[Symbol.asyncDispose]();
      await noise[Symbol.asyncDispose]();
      const via = { primary: site.primary, ...(standby ? { standby } : {}) };
      const first = await expectExact(firstlight, via);
      const began = performance.now();
      await site.simulation.run({ workflows: AN_HOUR });
      const last = await expectExact(firstlight, via);
      report(`an hour of traffic on a ${where}`, {
        seconds: Math.round((performance.now() - began) / 1000),
      });
      expect(regressions(first, last)).toEqual([]);
      expectNoGap(last);
      expect(valueOf(last, "firstlight_baselines_total")).toBe(1);
    }
    // The noise is not the simulation's: the tables are the oracle.
    await expectLedgerEqualsTables(await site.client(), target.statePath);
  },
  180_000,
);

/** The full mix, as fast as the server allows, until disposed; what has begun then ends. */
function startTraffic(simulation: Simulation): AsyncDisposable {
  const enough = new AbortController();
  const loop = async (): Promise<void> => {
    while (!enough.signal.aborted) await simulation.run({ workflows: 30 });
  };
  const running = loop();
  return {
    async [Symbol.asyncDispose]() {
      enough.abort();
      await running;
    },
  };
}
