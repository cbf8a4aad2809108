// What history costs: Firstlight's CPU per change and its memory on deployments that differ only in how many builds they have
// behind them, also as older releases left them, with very many agents that never connected.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCatalog, selectFamilies } from "../../../src/metrics/catalog.ts";
import type { BenchOptions, Section, SectionReport } from "../support/section.ts";
import { type Deployment, useDeployments } from "./deployments.ts";
import { type Figure, reportOf } from "./growth/report.ts";
import { type Round, Subject } from "./growth/subject.ts";

const BUILDS = [10_000, 100_000, 1_000_000];
const SMOKE_BUILDS = [1_000, 5_000];
/** A build for each 3,500 heartbeats, as 6,000 agents and 10,000 builds a day make them. */
const ROUND: Round = { heartbeats: 42_000, workflows: 12 };
/** News alone, which costs as much as thousands of heartbeats. */
const NEWS: Round = { heartbeats: 0, workflows: 600 };
/** Until the compiler has seen the loops, a change costs three times as much, and how soon that is differs from start to start. */
const WARM_UPS = 1;
const SMOKE_ROUND: Round = { heartbeats: 4_000, workflows: 2 };
const SMOKE_NEWS: Round = { heartbeats: 0, workflows: 20 };
const ROLE = "bench_growth";
const OLDER_AGENTS = new URL("growth/older-agents.sql", import.meta.url);
const NAMING = new Set(["workspace_name", "workspace_owner", "username"]);
const FEW_LABELS = ["template_name", "agent_name"] as const;
/** Series that are as many on each deployment: others grow with its workspaces, of which there are more where there is more history. */
const FEW_SERIES = {
  FIRSTLIGHT_AGENT_LABELS: FEW_LABELS.join(),
  FIRSTLIGHT_FAMILIES: ["default", ...namingWorkspaces().map((name) => `-${name}`)].join(),
};

/** Families with a series for each workspace, or for each owner of one. */
function namingWorkspaces(): readonly string[] {
  const { families } = selectFamilies("default");
  return createCatalog({ agentLabels: FEW_LABELS, families })
    .filter(({ labels }) => labels.some((label) => NAMING.has(label)))
    .map(({ name }) => name);
}

export const growth: Section = { name: "growth", run };

interface Bench extends BenchOptions {
  readonly sites: readonly Site[];
  readonly folder: string;
  readonly round: Round;
}

interface Site {
  readonly deployment: Deployment;
  readonly url: string;
}

async function run(options: BenchOptions): Promise<SectionReport> {
  const { smoke, sizes, log, signal } = options;
  log("growth: making the deployments");
  await using used = await useDeployments({
    sizes: sizes["builds"] ?? (smoke ? SMOKE_BUILDS : BUILDS),
    last: true,
    signal,
  });
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "firstlight-growth-"));
  stack.defer(async () => rm(folder, { recursive: true, force: true }));
  const sites: Site[] = [];
  for (const deployment of used.deployments) {
    sites.push({ deployment, url: await deployment.bed.addRole(ROLE) });
  }
  const bench = { ...options, sites, folder, round: smoke ? SMOKE_ROUND : ROUND };
  const { four, few } = smoke ? { four: [], few: [] } : await today(bench);
  const ends = sites.filter((_, i) => i === 0 || i === sites.length - 1);
  for (const { deployment } of ends) await addOlderAgents(deployment);
  const older = await measure({ ...bench, sites: ends }, "older");
  return reportOf({ four, few, older, round: bench.round, smoke });
}

/** With the labels that are the default, then the same stores with few series. */
async function today(bench: Bench): Promise<Record<"four" | "few", readonly Figure[]>> {
  await using stack = new AsyncDisposableStack();
  const subjects = subjectsOf(bench, "today", stack);
  const four = await rounds(bench, {
    subjects,
    name: "default labels",
    env: {},
    count: bench.pairs,
  });
  // The first start folds the ledger again, which takes memory once.
  for (const subject of subjects) await subject.start(FEW_SERIES);
  const few = await rounds(bench, { subjects, name: "few series", env: FEW_SERIES, count: 1 });
  return { four, few };
}

async function measure(bench: Bench, slot: string): Promise<readonly Figure[]> {
  await using stack = new AsyncDisposableStack();
  const subjects = subjectsOf(bench, slot, stack);
  // Awaited here: what `stack` owns lives until it is over.
  return await rounds(bench, { subjects, name: slot, env: FEW_SERIES, count: bench.pairs });
}

function subjectsOf(bench: Bench, slot: string, stack: AsyncDisposableStack): readonly Subject[] {
  return bench.sites.map(({ deployment, url }) => {
    const name = `bench_growth_${slot}_${deployment.builds}`;
    return stack.use(
      new Subject({ deployment, url, slot: name, folder: bench.folder, signal: bench.signal }),
    );
  });
}

interface Rounds {
  readonly subjects: readonly Subject[];
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly count: number;
}

/** All of them run at the same time; changes are written for one after the other. */
async function rounds(bench: Bench, options: Rounds): Promise<readonly Figure[]> {
  const { subjects, name, env } = options;
  const count = bench.smoke ? 1 : options.count;
  bench.log(`growth: ${name}: begin`);
  const settled = async (): Promise<readonly number[]> =>
    Promise.all(subjects.map(async (subject) => subject.settled()));
  await Promise.all(subjects.map(async (subject) => subject.start(env)));
  const begun = await settled();
  await Promise.all(subjects.map(async (subject) => subject.start(env)));
  const restarted = await settled();
  const costs = subjects.map((): number[] => []);
  for (let round = 1 - (bench.smoke ? 0 : WARM_UPS); round <= count; round += 1) {
    bench.log(`growth: ${name}: ${round > 0 ? `round ${round}` : "warm-up"}`);
    for (const [i, subject] of subjects.entries()) {
      const cost = await subject.follow(bench.round);
      if (round > 0) costs[i]?.push(cost);
    }
  }
  const news: number[] = [];
  for (const subject of subjects) news.push(await subject.follow(bench.smoke ? SMOKE_NEWS : NEWS));
  const followed = await settled();
  return subjects.map(({ builds }, i) => ({
    builds,
    costs: costs[i] ?? [],
    news: news[i] ?? Number.NaN,
    afterBaseline: begun[i] ?? Number.NaN,
    restarted: restarted[i] ?? Number.NaN,
    followed: followed[i] ?? Number.NaN,
  }));
}

async function addOlderAgents({ bed }: Deployment): Promise<void> {
  await bed.admin.query("set session_replication_role = replica");
  await bed.admin.query(await readFile(OLDER_AGENTS, "utf8"));
  await bed.admin.query("reset session_replication_role");
  await bed.admin.query("vacuum (analyze) workspace_agents");
}
