// `verify` on a primary and on a standby while long transactions overlap, with savepoints and rollbacks: the snapshot and the
// stream must agree to the byte on what lies before C.

import { expect, test } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { createLog } from "../../src/log.ts";
import { verify } from "../../src/pipeline/verify.ts";
import { startNoise } from "../standby/support/noise.ts";
import { firstTotals, openSite, urlOf } from "../standby/support/site.ts";
import { startInProcess } from "../support/firstlight.ts";
import { keepLogging } from "../support/standby.ts";
import { NO_DRIFT } from "./support/scene.ts";

const TIMES = 6;

test.each(["primary", "standby"] as const)(
  "on a %s: no drift",
  { timeout: 180_000 },
  async (where) => {
    await using site = await openSite({ seed: 31, history: 30 });
    const followed = where === "standby" ? await site.standby() : site.primary;
    const target = site.target(followed);
    await using firstlight = await startInProcess(target);
    await firstTotals(site.primary, firstlight);
    await using _records = keepLogging(site.primary);
    await using noise = startNoise(urlOf(site.primary), 31);
    const traffic = site.simulation.run({ workflows: 40 });
    const config = parseConfig({
      flags: { databaseUrl: target.url, state: target.statePath, slot: target.slot },
      env: {},
      readFile: () => "",
    });
    const log = createLog({ level: "fatal", format: "json" });
    const { signal } = new AbortController();
    const compared: number[] = [];
    for (let i = 0; i < TIMES; i += 1) {
      const report = await verify({ config, log, signal });
      // Explained are agents that begin their start once more: Coder rewrites these rows all day.
      expect(report).toMatchObject({ drift: NO_DRIFT, named: [] });
      compared.push(report.compared.attempted);
    }
    await traffic;
    expect(compared).toEqual(compared.toSorted((a, b) => a - b));
    expect(compared.at(-1)).toBeGreaterThan(compared[0] ?? 0);
    expect(noise.rolledBack).toBeGreaterThan(0);
  },
);
