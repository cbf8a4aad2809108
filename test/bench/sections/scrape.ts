// What a scrape costs, against prom-client with the same data: CPU, memory, and for how long nothing else can run.

import type { BenchOptions, Section, SectionReport } from "../support/section.ts";
import { type Figures, measure } from "./scrape/measure.ts";
import { reportOf } from "./scrape/report.ts";

const WORKSPACES = [1_000, 10_000, 100_000];
const SMOKE_WORKSPACES = [2_000];

export const scrape: Section = { name: "scrape", run };

async function run(options: BenchOptions): Promise<SectionReport> {
  const { smoke, sizes } = options;
  const figures: Figures[] = [];
  for (const workspaces of sizes["workspaces"] ?? (smoke ? SMOKE_WORKSPACES : WORKSPACES)) {
    options.signal.throwIfAborted();
    figures.push(await measure(workspaces, options));
  }
  return reportOf(figures, smoke);
}
