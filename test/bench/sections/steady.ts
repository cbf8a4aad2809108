// Steady load: CPU per heartbeat of the database and of the reader, at several rates, and commit to visible.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openBed } from "../support/bed.ts";
import type { BenchOptions, Section } from "../support/section.ts";
import { type Windows, runRate } from "./steady/rate.ts";
import { Results } from "./steady/results.ts";
import { prepareSubjects } from "./steady/subjects.ts";

export const steady: Section = {
  name: "steady",
  async run(bench) {
    const { workspaces, rates, windows } = sizesOf(bench);
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "firstlight-bench-"));
    stack.defer(async () => rm(folder, { recursive: true, force: true }));
    const bed = stack.use(await openBed(workspaces));
    const subjects = await prepareSubjects({
      bed,
      folder,
      few: bench.smoke,
      signal: bench.signal,
    });
    const results = new Results(subjects);
    for (const rate of rates) await runRate({ bench, bed, rate, windows, subjects, results });
    return results.report(bench);
  },
};

interface Sizes {
  readonly workspaces: number;
  readonly rates: readonly number[];
  readonly windows: Windows;
}

function sizesOf({ smoke, sizes }: BenchOptions): Sizes {
  // In small, two bursts at least.
  const seconds = sizes["seconds"]?.[0] ?? (smoke ? 11 : 15);
  return {
    workspaces: smoke ? 300 : 10_000,
    rates: sizes["rates"] ?? (smoke ? [667] : [67, 667, 6_667]),
    windows: {
      streamMs: Math.min(seconds, smoke ? 2 : 3) * 1000,
      burstsMs: seconds * 1000,
      probeMs: smoke ? 1_000 : 4_000,
      probedRuns: smoke ? 1 : 2,
    },
  };
}
