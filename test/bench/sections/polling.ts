// Following against polling: what coderd's own queries cost a database in an hour, directly and through an exporter, and what
// Firstlight costs it on the same deployment; also where that is more.

import type { BenchOptions, Check, Section, SectionReport } from "../support/section.ts";
import { median } from "../support/stats.ts";
import { useDeployments } from "./deployments.ts";
import { type Exported, exportOnce } from "./polling/exporter.ts";
import { type Beaten, type Follower, beat, openFollower } from "./polling/ours.ts";
import { type Poller, openPoller } from "./polling/poller.ts";
import { type Query, readQueries } from "./polling/queries.ts";
import { type Measured, checksOf, tablesOf } from "./polling/tables.ts";
import { type Written, walPerHeartbeat } from "./polling/wal.ts";

const BUILDS = [10_000, 100_000, 1_000_000];
const SMOKE_BUILDS = [1_000, 5_000];
/** Every window is a good part of a minute: a round of all sizes takes most of one, so there are few rounds. */
const ROUNDS = 2;
const POLLS_PER_ROUND = 3;

export const polling: Section = { name: "polling", run };

interface Bench {
  readonly builds: number;
  readonly agents: number;
  readonly rate: number;
  readonly follower: Follower;
  readonly poller: Poller;
  readonly ours: Beaten[];
  readonly polls: (readonly number[])[];
  exported: Exported | null;
}

async function run(options: BenchOptions): Promise<SectionReport> {
  const { smoke, sizes, log, signal } = options;
  const queries = await readQueries();
  log("polling: making the deployments");
  await using used = await useDeployments({
    sizes: sizes["builds"] ?? (smoke ? SMOKE_BUILDS : BUILDS),
    last: false,
    signal,
  });
  await using stack = new AsyncDisposableStack();
  const benches: Bench[] = [];
  for (const { builds, agents, rate, bed } of used.deployments) {
    const follower = stack.use(await openFollower(bed));
    const poller = await openPoller(bed, queries);
    await poller.poll();
    benches.push({ builds, agents, rate, follower, poller, ours: [], polls: [], exported: null });
  }
  for (let round = 1; round <= (smoke ? 1 : ROUNDS); round += 1) {
    for (const bench of benches) {
      log(`polling: round ${round}, ${bench.builds} builds`);
      await measure(bench, options);
    }
  }
  for (const bench of benches)
    bench.exported = await exportOnce(bench.follower.bed, queries, signal);
  log("polling: WAL per heartbeat");
  const wal = await Promise.all(
    ["replica", "logical"].map(async (level) => walPerHeartbeat(level, smoke ? 300 : 4_000)),
  );
  return report({ measured: benches.map(summed), queries, wal, smoke });
}

async function measure(bench: Bench, { smoke, signal }: BenchOptions): Promise<void> {
  const times = smoke ? { leadInS: 0, windowS: 2 } : { leadInS: 6, windowS: 14 };
  bench.ours.push(await beat(bench.follower, { rate: bench.rate, ...times, signal }));
  for (let poll = 0; poll < POLLS_PER_ROUND; poll += 1) {
    signal.throwIfAborted();
    bench.polls.push(await bench.poller.poll());
  }
}

function summed({ builds, agents, rate, ours, polls, exported }: Bench): Measured {
  return {
    builds,
    agents,
    rate,
    server: median(ours.map(({ server }) => server)),
    client: median(ours.map(({ client }) => client)),
    spread:
      Math.max(...ours.map(({ server }) => server)) / Math.min(...ours.map(({ server }) => server)),
    reached: median(ours.map(({ rate: written }) => written)),
    polls: (polls[0] ?? []).map((_, query) => median(polls.map((costs) => costs[query] ?? 0))),
    exported,
  };
}

interface Findings {
  readonly measured: readonly Measured[];
  readonly queries: readonly Query[];
  readonly wal: readonly Written[];
  readonly smoke: boolean;
}

function report({ measured, queries, wal, smoke }: Findings): SectionReport {
  const checks: readonly Check[] = checksOf(measured, smoke);
  return {
    title: "Against polling",
    about: `Database CPU for an hour. Polled: the queries of coderd's own metrics of workspaces and agents, in our own SQL, each once a minute
and replica, on a server that does nothing else meanwhile; the median of ${smoke ? POLLS_PER_ROUND : POLLS_PER_ROUND * ROUNDS} polls, parallel workers included. Firstlight: as it comes, while
every agent sends a heartbeat each 15 s, with 0.3 heartbeats of jobs and 0.5 commits on unwatched tables to each.`,
    tables: tablesOf(measured, queries, wal),
    checks,
    notes: notesOf(measured, wal),
  };
}

function notesOf(measured: readonly Measured[], wal: readonly Written[]): readonly string[] {
  const notes = [
    "All workspaces run, one agent each; the poll of the agents' apps is left out, since that table is not followed.",
    "WAL per heartbeat: full_page_writes off, no checkpoint while it was measured, pages with room " +
      `(${wal.map(({ heapOnly }) => `${Math.round(heapOnly * 100)} %`).join(" and ")} of the updates were heap-only).`,
  ];
  if (measured.some(({ exported }) => exported === null)) {
    notes.push(
      "SKIPPED: prometheus-sql-exporter is not installed (Debian's package of that name).",
    );
  }
  for (const { builds, rate, reached } of measured) {
    if (reached < rate * 0.95)
      notes.push(
        `At ${builds} builds only ${Math.round(reached)} of ${Math.round(rate)} heartbeats a second could be written.`,
      );
  }
  return notes;
}
