// What is said while a baseline reads.

import { expect, test } from "vitest";
import { createLog } from "../../src/log.ts";
import { Vitals } from "../../src/metrics/vitals.ts";
import { sayProgress } from "../../src/pipeline/progress.ts";
import { until } from "../support/firstlight.ts";

const never = (): void => {
  throw new Error("not stalled");
};

test("rows that stop coming are noticed once per limit, rows that come are not", async () => {
  const log = createLog({ level: "info", format: "json", write: () => undefined });
  const rows = { builds: 0, agents: 0 };
  const about = { builds: null, agents: null };
  let stalled = 0;
  const onStalled = (): void => {
    stalled += 1;
  };
  using _progress = sayProgress({
    rows,
    about,
    vitals: new Vitals(),
    log,
    onStalled,
    stalledAfterMs: 100,
  });
  const began = performance.now();
  while (performance.now() - began < 350) {
    rows.builds += 1;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(stalled).toBe(0);
  await until("it is noticed", () => stalled > 0);
});

test("how far it is, of about how much and how fast, until it ends", async () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "json", write: (line) => void lines.push(line) });
  const vitals = new Vitals();
  const rows = { builds: 0, agents: 0 };
  {
    const about = { builds: 1_000, agents: null };
    using _progress = sayProgress({ rows, about, vitals, log, everyMs: 20, onStalled: never });
    rows.builds = 40;
    await until("it is said", () => lines.length > 0);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      message: "baseline progress",
      builds: 40,
      agents: 0,
      aboutBuilds: 1_000,
      aboutAgents: null,
      rowsPerSecond: 2_000,
    });
    rows.agents = 7;
    expect(vitals.baseline).toEqual({ builds: 40, agents: 7 });
    await until("it is said again", () => lines.length > 1);
    expect(JSON.parse(lines[1] ?? "")).toMatchObject({ agents: 7, rowsPerSecond: 350 });
  }
  expect(vitals.baseline).toBeNull();
  const said = lines.length;
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(lines).toHaveLength(said);
});
