// A deployment that is followed through changes of families and limits: `serve` as a process, started again with other settings.
// What must hold at each start is said by the recount, and that no total falls or vanishes while it is on.

import { expect, test } from "vitest";
import type pg from "pg";
import { type Simulation, openSimulation } from "../../src/demo/coder/simulation.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { createDatabase } from "../support/database.ts";
import { expectSumsEqualRecount } from "../support/exact.ts";
import { type Process, publish, startProcess, uniqueSlot } from "../support/firstlight.ts";
import { recount } from "../support/recount.ts";
import { type Scrape, byLabels, regressions, sumOf, valueOf } from "../support/scrape.ts";

const AGENTS = "coderd_agents_first_connection_seconds";
const OTHER = JSON.stringify(["__other__", "__other__", "__other__", "__other__"]);

interface Stage {
  readonly client: pg.Client;
  readonly simulation: Simulation;
  /** Runs `serve` with these settings until it has caught up, looks, and stops it. */
  readonly serve: (
    env: Readonly<Record<string, string>>,
    look: (page: Scrape, firstlight: Process) => Promise<void> | void,
  ) => Promise<void>;
}

async function onStage(play: (stage: Stage) => Promise<void>): Promise<void> {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  await using simulation = openSimulation({
    url: database.url,
    seed: 11,
    startAt: 1_787_300_000_000_000,
  });
  await simulation.seedDeployment();
  await simulation.run({ workflows: 30 });
  const target = {
    url: database.url,
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
  };
  await play({
    client,
    simulation,
    async serve(env, look) {
      await using firstlight = await startProcess({ ...target, env });
      await look(await firstlight.caughtUp(), firstlight);
      expect(await firstlight.terminate()).toBe(0);
    },
  });
}

/** Nothing was asked of the database but what is new in the slot. */
function expectNoBaseline(page: Scrape): void {
  expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
  expect([...byLabels(page, "firstlight_gaps_total")]).toEqual([]);
}

const familiesOf = ({ text }: Scrape): readonly string[] =>
  [...text.matchAll(/^# TYPE coderd_(\S+) /gm)].map(([, name = ""]) => name);

test("families that are switched on show what they would show had they always been on", async () => {
  await onStage(async ({ client, simulation, serve }) => {
    const one = { FIRSTLIGHT_FAMILIES: "workspace_creation_attempts_total" };
    let before: Scrape | undefined;
    await serve(one, (page) => {
      expect(familiesOf(page)).toEqual(["workspace_creation_attempts_total"]);
      before = page;
    });
    await simulation.run({ workflows: 20 });
    await serve({ FIRSTLIGHT_FAMILIES: "default" }, async (page) => {
      expect(regressions(before as Scrape, page)).toEqual([]);
      expect(familiesOf(page)).not.toContain("workspace_builds_enqueued_total");
      expectNoBaseline(page);
      const tables = await recount(client);
      const counted = [...tables.outcomes.values()].reduce((sum, value) => sum + value, 0);
      expect(sumOf(page, "coderd_workspace_creation_outcomes_total")).toBe(counted);
      before = page;
    });
    await serve({ FIRSTLIGHT_FAMILIES: "all" }, async (page) => {
      expect(regressions(before as Scrape, page)).toEqual([]);
      expectNoBaseline(page);
      await expectSumsEqualRecount(client, page);
    });
  });
});

test("at a small limit new label sets share a series, whatever restarts and limits come; sums stay exact", async () => {
  await onStage(async ({ client, simulation, serve }) => {
    let before: Scrape | undefined;
    const look = (limit: number) => async (page: Scrape, firstlight: Process) => {
      if (before) expect(regressions(before, page)).toEqual([]);
      const counted = [...(await recount(client)).firstConnection.values()];
      expect(sumOf(page, `${AGENTS}_count`)).toBe(
        counted.reduce((sum, { count }) => sum + count, 0),
      );
      const own = [...byLabels(page, `${AGENTS}_count`).keys()].filter((key) => key !== OTHER);
      expect(counted.length).toBeGreaterThan(own.length);
      expect(own).toHaveLength(limit);
      expect(valueOf(page, `firstlight_series{family="${AGENTS}"}`)).toBe(limit + 1);
      expect(valueOf(page, `firstlight_series_room{family="${AGENTS}"}`)).toBe(0);
      const lines = firstlight.log.filter(
        (line) =>
          line.includes("at its series limit") && line.includes(AGENTS.replace("coderd_", "")),
      );
      expect(lines).toHaveLength(1);
      before = page;
    };
    await serve({ FIRSTLIGHT_SERIES_LIMIT: "3" }, look(3));
    await simulation.run({ workflows: 30 });
    await serve({ FIRSTLIGHT_SERIES_LIMIT: "3" }, look(3));
    const other = byLabels(before as never, `${AGENTS}_count`).get(OTHER);
    expect(other).toBeGreaterThan(0);
    await serve({ FIRSTLIGHT_SERIES_LIMIT: "5" }, async (page) => {
      expect(regressions(before as Scrape, page)).toEqual([]);
      // What is shared stays where it is.
      expect(byLabels(page, `${AGENTS}_count`).get(OTHER)).toBe(other);
      before = page;
    });
    await simulation.run({ workflows: 30 });
    await serve({ FIRSTLIGHT_SERIES_LIMIT: "5" }, look(5));
    await serve({ FIRSTLIGHT_SERIES_LIMIT: "2" }, (page) => {
      expect(regressions(before as Scrape, page)).toEqual([]);
      expect(page.series.size).toBeGreaterThan(0);
      before = page;
    });
  });
});
