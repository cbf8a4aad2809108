// The history of a real deployment's ledger, beside the `serve` that fills it: it ends with what `/metrics` says.

import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { createDatabase } from "../support/database.ts";
import { publish, startInProcess } from "../support/firstlight.ts";
import { CATALOG } from "../support/ledger.ts";
import { manifestOf, runBackfill } from "./support/command.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

/** Those that have a history: what is hidden is shown there. */
const COUNTED = CATALOG.filter(
  ({ type, name }) => type !== "gauge" && !name.startsWith("retired_"),
);
const NAMED = COUNTED.filter(({ shown }) => shown !== "always").map(({ name }) => name);
const TOTALS = new RegExp(
  `^(coderd|firstlight)_(${COUNTED.map(({ name }) => name).join("|")})(_bucket|_sum|_count)?\\{`,
);

test(
  "every total of /metrics that is not 0 is the end of its history, under traffic too",
  { timeout: 180_000 },
  async () => {
    await using database = await createDatabase();
    await publish(await database.client());
    await using simulation = openSimulation({
      url: database.url,
      seed: 5,
      startAt: START_AT,
      oddNames: true,
    });
    await simulation.seedDeployment();
    await using firstlight = await startInProcess({ url: database.url });
    await simulation.run({ workflows: 80 });
    const scrape = await firstlight.caughtUp();
    const out = join(dirname(firstlight.statePath), "history");
    const args = ["--state", firstlight.statePath, "--out", out, "--format", "victoriametrics"];
    const { code, err } = await runBackfill([...args, "--families", NAMED.join(",")]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const live = [...scrape.series].filter(([name, value]) => TOTALS.test(name) && value !== 0);
    const ends = Object.entries((await manifestOf(out)).last_values).filter(
      ([, value]) => value !== 0,
    );
    expect(live.length).toBeGreaterThan(500);
    expect(Object.fromEntries(ends)).toEqual(Object.fromEntries(live));
    await rm(out, { recursive: true });

    // What is read is one moment, whatever is committed meanwhile; and nobody was held up.
    const traffic = simulation.run({ workflows: 40 });
    const beside = await runBackfill([...args, "--families", NAMED.join(",")]);
    await traffic;
    expect(beside).toMatchObject({ code: 0, err: "" });
    const after = await firstlight.caughtUp();
    for (const [series, value] of Object.entries((await manifestOf(out)).last_values))
      expect(after.series.get(series) ?? 0, series).toBeGreaterThanOrEqual(value);
    const complaints = firstlight.log
      .filter((line) => /"level":"(warn|error)"/.test(line))
      .filter((line) => !line.includes("possible clock skew"));
    expect(complaints).toEqual([]);
  },
);
