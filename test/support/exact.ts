// The comparison that everything else rests on: what is shown and what is in the ledger, against the recount SQL and
// against the simulation's own tally.

import type pg from "pg";
import { expect } from "vitest";
import { isFirstBuild } from "../../src/derive/fact.ts";
import type { Simulation } from "../../src/demo/coder/simulation.ts";
import { must } from "../../src/errors.ts";
import { phasesOf } from "../../src/derive/light.ts";
import { expectDeletionsEqualTables } from "./exact-deletions.ts";
import { expectJobsEqualTables } from "./exact-jobs.ts";
import {
  expectOverdueEqualsTables,
  expectOverdueEqualsTally,
  expectOverdueShown,
} from "./exact-overdue.ts";
import { expectStartsEqualTables, expectStartsEqualTally } from "./exact-starts.ts";
import { type Ledger, readLedger } from "./ledger.ts";
import {
  BUCKETS,
  CLAIM_BUCKETS,
  CREATION_BUCKETS,
  type HistogramCount,
  LIGHT_BUCKETS,
  type LightById,
  type Recount,
  WAIT_BUCKETS,
  recount,
  recountById,
} from "./recount.ts";
import { type Scrape, byLabels, sumOf, unbalanced } from "./scrape.ts";

/** By id: the ledger equals the tables, except for exactly the ids that it lists as divergent. */
export async function expectLedgerEqualsTables(
  client: pg.Client,
  statePath: string,
  simulation?: Simulation,
): Promise<void> {
  const ledger = readLedger(statePath);
  const tables = await recountById(client);
  const divergent = (kind: string, id: string): boolean => ledger.divergent.has(`${kind} ${id}`);

  expect([...ledger.attempted.keys()].sort()).toEqual([...tables.attempts.keys()].sort());
  for (const [id, createdAt] of tables.attempts)
    expect(ledger.attempted.get(id)?.at).toBe(createdAt);
  const traits = [...ledger.attempted].map(([id, fact]) => {
    const { claimed, ...rest } = fact.traits;
    return [id, { ...rest, claim: claimed !== null }] as const;
  });
  expect(Object.fromEntries(traits)).toEqual(Object.fromEntries(tables.traits));

  expect([...ledger.ended.keys()].sort()).toEqual([...tables.outcomes.keys()].sort());
  for (const [id, { status, stage, errorCode, completedAt, took }] of tables.outcomes) {
    const fact = ledger.ended.get(id);
    const same =
      fact?.status === status &&
      fact.stage === (stage ?? "") &&
      fact.errorCode === (errorCode ?? "") &&
      fact.took === took &&
      fact.at === completedAt;
    expect(same || divergent("ended", id), `job ${id}`).toBe(true);
  }

  expect([...ledger.created.keys()].sort()).toEqual([...tables.created.keys()].sort());
  for (const [id, { number, completedAt }] of tables.created) {
    const fact = ledger.created.get(id);
    const same = fact?.number === number && fact.at === completedAt;
    expect(same || divergent("created", id), `workspace ${id}`).toBe(true);
  }

  expectDeletionsEqualTables(ledger, tables);
  expectJobsEqualTables(ledger, tables);
  expectStartsEqualTables(ledger, tables);

  const connections = new Map([...tables.connections, ...tables.negative]);
  expect([...ledger.connected.keys()].sort()).toEqual([...connections.keys()].sort());
  for (const [id, { firstConnectedAt, took, workspace }] of connections) {
    const fact = ledger.connected.get(id);
    expect(fact?.workspace?.id ?? null, `workspace of agent ${id}`).toBe(workspace);
    const same = fact?.at === firstConnectedAt && fact.took === took;
    expect(same || divergent("connected", id), `agent ${id}`).toBe(true);
  }
  expectLightsEqualTables(ledger, tables.lights);
  expectOverdueEqualsTables(ledger, tables);
  expect(Object.fromEntries(ledger.refolded)).toEqual(Object.fromEntries(ledger.stored));
  if (simulation) expectLedgerEqualsTally(statePath, simulation);
}

/** By agent: how each part of the way went. The last one ends with the first connection, which may be divergent. */
function expectLightsEqualTables(ledger: Ledger, tables: ReadonlyMap<string, LightById>): void {
  const told = [...ledger.connected].flatMap(([id, { light, at }]) => {
    if (light === null) return [];
    const { prebuild, claimed } = light.traits;
    const type = prebuild ? "prebuild" : claimed === null ? "regular" : "claim";
    const seen = ledger.divergent.has(`connected ${id}`) ? null : phasesOf(light, at);
    return [[id, { type, queue: light.queued, provision: light.provisioned, ...seen }] as const];
  });
  const counted = [...tables].map(([id, { connect, total, ...before }]) => {
    const seen = ledger.divergent.has(`connected ${id}`) ? null : { connect, total };
    return [id, { ...before, ...seen }] as const;
  });
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(counted));
}

/** By id: the ledger equals what the simulation meant to do; nothing is listed as divergent that is not. */
function expectLedgerEqualsTally(statePath: string, simulation: Simulation): void {
  const ledger = readLedger(statePath);
  const expected = simulation.expected();
  expect([...ledger.attempted.keys()].sort()).toEqual([...expected.builds.keys()].sort());
  const first = [...ledger.attempted.values()].filter((fact) => isFirstBuild(fact.traits));
  expect(first.map(({ id }) => id).sort()).toEqual(expected.attempted.map(({ id }) => id).sort());
  const ends = [...expected.ends.values()].filter(({ build }) => build !== null);
  expect([...ledger.ended.keys()].sort()).toEqual(ends.map(({ job }) => job).sort());
  expect([...ledger.connected.keys()].sort()).toEqual(
    expected.connected.map(({ id }) => id).sort(),
  );
  for (const { job, end, completedAt } of ends) {
    const fact = ledger.ended.get(job);
    expect({ status: fact?.status, at: fact?.at }, `job ${job}`).toEqual({
      status: end.status,
      at: completedAt,
    });
    if (end.status === "failure") {
      expect({ stage: fact?.stage, errorCode: fact?.errorCode }).toEqual({
        stage: end.stage,
        errorCode: end.errorCode,
      });
    }
  }
  const workspaceOf = (job: string): string => {
    const build = expected.builds.get(expected.ends.get(job)?.build ?? "");
    return must(build, `no build of job ${job}`).workspace;
  };
  const ofItsWorkspace = (job: string): string[] =>
    ["created", "deleted"].map((of) => `${of} ${workspaceOf(job)}`);
  const rewritten = new Set(
    expected.divergent.flatMap(({ kind, id }) =>
      kind === "ended"
        ? ["ended", "ran"].map((of) => `${of} ${id}`).concat(ofItsWorkspace(id))
        : [`${kind} ${id}`],
    ),
  );
  const late = expected.divergent.filter(({ why }) => why === "reaped_then_completed");
  const succeeded = ends.filter(({ end }) => end.status === "success").map(({ job }) => job);
  const created = [...succeeded, ...late.map(({ id }) => id)].flatMap((job) => {
    const build = expected.builds.get(expected.ends.get(job)?.build ?? "");
    return build?.transition === "start" ? [build.workspace] : [];
  });
  expect([...ledger.created.keys()].sort()).toEqual([...new Set(created)].sort());
  for (const job of expected.rewritten) rewritten.add(`ready ${job}`);
  expect([...ledger.divergent.keys()].filter((key) => !rewritten.has(key))).toEqual([]);
  expectOverdueEqualsTally(ledger, expected);
  expectStartsEqualTally(ledger, expected);
  for (const { id, took } of expected.connected)
    expect(ledger.connected.get(id)?.took, `agent ${id}`).toBe(took);
}

/** Sums over all labels: what is shown equals a recount, renames or not. For workloads without divergent ids. */
export async function expectSumsEqualRecount(client: pg.Client, scrape: Scrape): Promise<void> {
  const tables = await recount(client);
  expect(unbalanced(scrape)).toEqual([]);
  expect(sumOf(scrape, "coderd_workspace_creation_attempts_total")).toBe(sum(tables.attempts));
  expect(sumOf(scrape, "coderd_workspace_creations_in_flight")).toBe(sum(tables.inFlight));
  expect(sumBy(byLabels(scrape, "coderd_workspace_creation_outcomes_total"), [0, 3])).toEqual(
    sumBy(tables.outcomes, [0, 3]),
  );
  expect(sumBy(byLabels(scrape, "coderd_workspace_creation_failures_total"), [0, 3, 4])).toEqual(
    sumBy(tables.failures, [0, 3, 4]),
  );
  expect(nonZero(byLabels(scrape, "coderd_workspace_builds_enqueued_total"))).toEqual(
    nonZero(tables.enqueued),
  );
  await expectOverdueShown(client, scrape);
  for (const [metric, counted] of countsOf(tables))
    expect(sumOfAll(scrape, withHidden(metric)), metric).toBe(sum(counted));
  expect(nonZero(byLabels(scrape, "coderd_api_workspace_latest_build"))).toEqual(
    nonZero(tables.latestBuild),
  );
  // By the status and the transition; the names of some may be others by now.
  expect(sumBy(byLabels(scrape, "coderd_workspace_latest_build_status"), [0, 4])).toEqual(
    sumBy(tables.latestBuildStatus, [0, 4]),
  );
  // Of starts Coder rewrites some all day, which are listed (by id they are compared, too): an agent that begins once more has not
  // been ready, as the tables say it then.
  const durations = byLabels(scrape, "coderd_template_workspace_build_duration_seconds_count");
  const [are, told] = [durations, counts(tables.startDuration)].map((each) =>
    sumBy(each, [1, 2, 4]),
  );
  const apart = Object.keys({ ...are, ...told }).map((key) =>
    Math.abs((are?.[key] ?? 0) - (told?.[key] ?? 0)),
  );
  expect(
    apart.reduce((total, by) => total + by, 0),
    "starts that are not as the tables tell them",
  ).toBeLessThanOrEqual(scrape.series.get('firstlight_divergent_ids{kind="ready"}') ?? 0);
  for (const { metric, counted } of histogramsOf(tables)) {
    const names = withHidden(metric);
    const shown = names.map((name) => `${name}_count`);
    expect(sumOfAll(scrape, shown), metric).toBe(
      [...counted.values()].reduce((total, { count }) => total + count, 0),
    );
    // Rounded one by one: the sum of a hundred thousand floats is not exact to the microsecond.
    const sums = names.flatMap((name) => [...byLabels(scrape, `${name}_sum`).values()]);
    expect(
      sums.reduce((total, seconds) => total + Math.round(seconds * 1e6), 0),
      metric,
    ).toBe([...counted.values()].reduce((total, { sum: micros }) => total + micros, 0));
  }
  expect(scrape.series.get('firstlight_dropped_samples_total{reason="negative"}')).toBe(
    tables.droppedNegative,
  );
}

const sumOfAll = (scrape: Scrape, metrics: readonly string[]): number =>
  metrics.reduce((total, metric) => total + sumOf(scrape, metric), 0);

/** A metric, and the one that has what its series counted that are not shown any more. */
const withHidden = (metric: string): readonly string[] =>
  metric.startsWith("coderd_")
    ? [metric, metric.replace("coderd_", "firstlight_retired_")]
    : [metric];

/** Label by label: for workloads in which nothing is renamed or claimed. */
export async function expectLabelsEqualRecount(client: pg.Client, scrape: Scrape): Promise<void> {
  const tables: Recount = await recount(client);
  const same = (metric: string, counted: ReadonlyMap<string, number>): void =>
    expect(nonZero(byLabels(scrape, metric)), metric).toEqual(nonZero(counted));
  same("coderd_workspace_creation_attempts_total", tables.attempts);
  same("coderd_workspace_creation_outcomes_total", tables.outcomes);
  same("coderd_workspace_creation_failures_total", tables.failures);
  same("coderd_workspace_creations_in_flight", tables.inFlight);
  same(
    "coderd_workspace_creation_oldest_in_flight_timestamp_seconds",
    new Map([...tables.oldestInFlight].map(([labels, micros]) => [labels, micros / 1e6])),
  );
  for (const [metric, counted] of countsOf(tables)) same(metric, counted);
  for (const { metric, bounds, counted } of histogramsOf(tables)) {
    same(`${metric}_count`, counts(counted));
    const buckets = byLabels(scrape, `${metric}_bucket`);
    for (const [labels, { buckets: cumulative, count }] of counted) {
      const values = JSON.parse(labels) as string[];
      const shown = [...bounds.map(leOf), "+Inf"].map((le) =>
        buckets.get(JSON.stringify([...values, le])),
      );
      expect(shown, `${metric} ${labels}`).toEqual([...cumulative, count]);
    }
  }
}

/** As exposed: `10.0`, `0.5`. */
const leOf = (bound: number): string => (Number.isInteger(bound) ? `${bound}.0` : `${bound}`);

function countsOf(tables: Recount): readonly [string, ReadonlyMap<string, number>][] {
  return [
    ["coderd_workspace_creation_total", tables.created],
    ["coderd_workspace_latest_build_status", tables.latestBuildStatus],
    ["coderd_agents_up", tables.agentsUp],
    ["coderd_workspace_builds_total", tables.builds],
    ["coderd_provisionerd_jobs_current", tables.jobsCurrent],
    ["coderd_prebuilt_workspaces_created_total", tables.prebuildsCreated],
    ["coderd_prebuilt_workspaces_failed_total", tables.prebuildsFailed],
    ["coderd_prebuilt_workspaces_claimed_total", tables.prebuildsClaimed],
  ];
}

interface CountedHistogram {
  readonly metric: string;
  readonly bounds: readonly number[];
  readonly counted: ReadonlyMap<string, HistogramCount>;
}

function histogramsOf(tables: Recount): readonly CountedHistogram[] {
  return [
    {
      metric: "coderd_agents_first_connection_seconds",
      bounds: BUCKETS,
      counted: tables.firstConnection,
    },
    {
      metric: "coderd_workspace_creation_duration_seconds",
      bounds: CREATION_BUCKETS,
      counted: tables.creationDuration,
    },
    {
      metric: "coderd_prebuilt_workspace_claim_duration_seconds",
      bounds: CLAIM_BUCKETS,
      counted: tables.claimDuration,
    },
    {
      metric: "firstlight_time_to_first_light_seconds",
      bounds: LIGHT_BUCKETS,
      counted: tables.firstLight,
    },
    {
      metric: "coderd_provisionerd_workspace_build_timings_seconds",
      bounds: CREATION_BUCKETS,
      counted: tables.buildTimings,
    },
    {
      metric: "coderd_provisioner_job_queue_wait_seconds",
      bounds: WAIT_BUCKETS,
      counted: tables.queueWait,
    },
    {
      metric: "coderd_provisionerd_job_timings_seconds",
      bounds: CREATION_BUCKETS,
      counted: tables.jobTimings,
    },
  ];
}

function counts(counted: ReadonlyMap<string, HistogramCount>): ReadonlyMap<string, number> {
  return new Map([...counted].map(([labels, { count }]) => [labels, count]));
}

function sum(values: ReadonlyMap<string, number>): number {
  return [...values.values()].reduce((total, value) => total + value, 0);
}

/** Sums by some of the labels, zeros left out. */
function sumBy(
  values: ReadonlyMap<string, number>,
  positions: readonly number[],
): Record<string, number> {
  const sums = new Map<string, number>();
  for (const [key, value] of values) {
    const labels = JSON.parse(key) as string[];
    const kept = JSON.stringify(positions.map((position) => labels[position]));
    sums.set(kept, (sums.get(kept) ?? 0) + value);
  }
  return nonZero(sums);
}

function nonZero(values: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...values].filter(([, value]) => value !== 0));
}
