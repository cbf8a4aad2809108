// The server stops and comes back, politely and as a crash: nothing is lost, nothing is counted twice, nothing needs a
// new baseline, and a polite stop does not have to wait for us.

import { expect, test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { startProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { regressions, valueOf } from "../support/scrape.ts";
import { temporaryFolder } from "./support/folder.ts";
import { ownServer } from "./support/own-server.ts";
import { report } from "./support/report.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;
/** The longest back-off, and what catching up takes. */
const RECOVERS_WITHIN_MS = 45_000;
const STOPS_WITHIN_MS = 2_000;

test("server restarts, fast and immediate, are followed without loss", async () => {
  await using server = await ownServer();
  await using folder = await temporaryFolder();
  await using simulation = openSimulation({ url: server.url, seed: 1, startAt: START_AT });
  await simulation.seedDeployment();
  await simulation.run({ workflows: 10 });
  const target = { url: server.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  {
    await using firstlight = await startProcess(target);
    let before = await firstlight.caughtUp();
    for (const mode of ["fast", "immediate", "immediate", "fast"] as const) {
      // No pause between the last commit and the stop: the rest must come after the start.
      await simulation.run({ workflows: 10 });
      await server.stop(mode);
      await until("it notices", async () => {
        const page = await firstlight.scrape();
        expect(page.hasTotals).toBe(true);
        return valueOf(page, "firstlight_stream_connected") === 0;
      });
      await server.start();
      await simulation.run({ workflows: 5 });
      const after = await firstlight.caughtUp(RECOVERS_WITHIN_MS);
      await expectSumsEqualRecount(await server.client(), after);
      expect(regressions(before, after)).toEqual([]);
      before = after;
    }
    expect(valueOf(before, "firstlight_baselines_total")).toBe(1);
    expect(before.text).not.toMatch(/^firstlight_gaps_total\{/m);
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedgerEqualsTables(await server.client(), target.statePath, simulation);
});

test("a polite stop of an idle server is not held up", async () => {
  await using server = await ownServer();
  await using folder = await temporaryFolder();
  await using simulation = openSimulation({ url: server.url, seed: 1, startAt: START_AT });
  await simulation.seedDeployment();
  const target = { url: server.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  await using firstlight = await startProcess(target);
  await simulation.run({ workflows: 10 });
  await firstlight.caughtUp();
  const took: number[] = [];
  for (let stop = 0; stop < 3; stop += 1) {
    const began = performance.now();
    await server.stop("fast");
    took.push(Math.round(performance.now() - began));
    await server.start();
    await firstlight.caughtUp(RECOVERS_WITHIN_MS);
    await until(
      "it follows again",
      async () => valueOf(await firstlight.scrape(), "firstlight_stream_connected") === 1,
      RECOVERS_WITHIN_MS,
    );
  }
  report("polite stops of the server", { milliseconds: took.join(" ") });
  expect(Math.max(...took)).toBeLessThan(STOPS_WITHIN_MS);
});
