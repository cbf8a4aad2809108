// What a start costs that has a history: from the store to totals that are shown; and what the store costs meanwhile.

import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { BenchOptions, Section, SectionReport, Table } from "../support/section.ts";
import { median } from "../support/stats.ts";
import { FACTS_PER_WORKSPACE, fill, open } from "./restart/filling.ts";
import { type Disk, type PerFact, costPerFact, diskOf } from "./restart/ledger.ts";
import type { Loading } from "./restart/loading.ts";

const WORKSPACES = [10_000, 100_000];
const SMOKE_WORKSPACES = [1_000];
const BATCHES = [1, 10, 100, 1_000];
const LOADING = fileURLToPath(new URL("restart/loading.ts", import.meta.url));
const run_ = promisify(execFile);

export const restart: Section = { name: "restart", run };

interface Figures {
  readonly workspaces: number;
  readonly loadings: readonly Loading[];
  readonly disk: Disk;
  readonly perFact: readonly PerFact[];
}

async function run(options: BenchOptions): Promise<SectionReport> {
  const { smoke, sizes } = options;
  const figures: Figures[] = [];
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "firstlight-restart-"));
  stack.defer(async () => rm(folder, { recursive: true, force: true }));
  for (const workspaces of sizes["workspaces"] ?? (smoke ? SMOKE_WORKSPACES : WORKSPACES))
    figures.push(await measure(join(folder, `${workspaces}.db`), workspaces, options));
  return report(figures);
}

async function measure(
  path: string,
  workspaces: number,
  { pairs, log, signal }: BenchOptions,
): Promise<Figures> {
  log(`restart: ${workspaces} workspaces: filling`);
  await fill(path, workspaces, signal);
  const loadings: Loading[] = [];
  for (let round = 1; round <= pairs; round += 1) {
    log(`restart: ${workspaces} workspaces: start ${round}`);
    const { stdout } = await run_(process.execPath, [LOADING, path], { signal });
    loadings.push(JSON.parse(stdout) as Loading);
  }
  const disk = diskOf(path);
  using store = open(path);
  store.load();
  const perFact = BATCHES.map((batch) => costPerFact(store, workspaces, batch));
  return { workspaces, loadings, disk, perFact };
}

function report(all: readonly Figures[]): SectionReport {
  return {
    title: "Restart and the ledger",
    about: `A store with a four-label histogram for each workspace and ${FACTS_PER_WORKSPACE} facts a workspace (attempted, ended, connected; random
ids), filled through the store's own interface; then started on in a new process each time.`,
    tables: [loadTable(all), diskTable(all), factTable(all)],
    checks: [],
    notes: [
      "Medians. Here the load is one call; `serve` does the same work in slices of a thousand rows and answers requests in between.",
      "Per fact: in commits of so many facts on the filled store, fsync included. Known: the same facts once more, all of them ignored, as after a restart that reads again what was not acknowledged.",
    ],
  };
}

function loadTable(all: readonly Figures[]): Table {
  return {
    caption: "From the store to totals that can be shown, in ms",
    head: ["workspaces", "open", "load", "load, CPU", "since the process began", "RSS, MB"],
    rows: all.map(({ workspaces, loadings }) => {
      const of = (field: keyof Loading): number =>
        median(loadings.map((loading) => loading[field]));
      return [
        workspaces,
        of("openMs"),
        of("loadMs"),
        of("loadCpuMs"),
        of("sinceStartMs"),
        of("rss") / 1e6,
      ];
    }),
  };
}

function diskTable(all: readonly Figures[]): Table {
  return {
    caption: "On disk",
    head: [
      "workspaces",
      "facts",
      "file, MB",
      "ledger, bytes per fact",
      "cached fold, bytes per series",
    ],
    rows: all.map(({ workspaces, disk }) => [
      workspaces,
      workspaces * FACTS_PER_WORKSPACE,
      disk.file / 1e6,
      disk.ledger / (workspaces * FACTS_PER_WORKSPACE),
      disk.series / workspaces,
    ]),
  };
}

function factTable(all: readonly Figures[]): Table {
  return {
    caption: "Microseconds per fact",
    head: ["workspaces", "facts a commit", "new, clock", "new, CPU", "known, clock", "known, CPU"],
    rows: all.flatMap(({ workspaces, perFact }) =>
      perFact.map(({ batch, fresh, known }) => [
        workspaces,
        batch,
        fresh.wall,
        fresh.cpu,
        known.wall,
        known.cpu,
      ]),
    ),
  };
}
