// A deployment of its own with one follower, for the tests of single workflows: runs something, waits until it is
// visible, and says by how much each total moved. What must hold between any two scrapes is checked on the way.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { expect } from "vitest";
import type { Agent, Build, Template } from "../../../src/demo/coder/model.ts";
import {
  type Simulation,
  type SimulationOptions,
  openSimulation,
} from "../../../src/demo/coder/simulation.ts";
import { must } from "../../../src/errors.ts";
import { createDatabase } from "../../support/database.ts";
import {
  expectLabelsEqualRecount,
  expectLedgerEqualsTables,
  expectSumsEqualRecount,
} from "../../support/exact.ts";
import { publish, startInProcess } from "../../support/firstlight.ts";
import { type Ledger, readLedger } from "../../support/ledger.ts";
import { recountById } from "../../support/recount.ts";
import { type Scrape, byLabels, regressions, unbalanced } from "../../support/scrape.ts";

/** 2026-08-21, so that no test depends on today. */
export const START_AT = 1_787_300_000_000_000;

export interface StageOptions extends Partial<Omit<SimulationOptions, "url">> {
  /**
   * How far the tables agree with what is shown: in every label, only summed over the labels (after renames and claims),
   * or not at all (rows that were rewritten after they were counted). By id they agree anyway, which `finish` checks.
   */
  readonly agrees?: "labels" | "sums" | "ids";
}

/** By how much each total moved, e.g. `{ "attempts coder|docker|": 1 }`. What did not move is not there. */
export type Moved = Readonly<Record<string, number>>;

export interface Stage extends AsyncDisposable {
  readonly simulation: Simulation;
  readonly client: pg.Client;
  readonly log: readonly string[];
  /** Runs this and gives what moved, once everything that it committed is visible, beside what it returned. */
  run<T>(work: () => Promise<T>): Promise<{ readonly moved: Moved; readonly result: T }>;
  /** As `run`, where nobody needs the result. */
  moved(work: () => Promise<unknown>): Promise<Moved>;
  /** The scrape that was waited for last. */
  readonly scrape: Scrape;
  /** Series that the last run brought into being, by the names that `Moved` uses. */
  readonly born: readonly string[];
  /** The template of this name in this organization, by default in `coder`. */
  template(name: string, organization?: string): Template;
  /** Ends the follower and compares its ledger with the tables and with what was meant to happen, by id. */
  finish(): Promise<Ledger>;
}

/** Shown metric → the short name in `Moved`. */
const FOLLOWED: Readonly<Record<string, string>> = {
  coderd_workspace_creation_attempts_total: "attempts",
  coderd_workspace_creation_outcomes_total: "outcomes",
  coderd_workspace_creation_failures_total: "failures",
  coderd_workspace_creation_total: "created",
  coderd_workspace_creations_in_flight: "in flight",
  coderd_prebuilt_workspaces_created_total: "prebuilds created",
  coderd_prebuilt_workspaces_failed_total: "prebuilds failed",
  coderd_prebuilt_workspaces_claimed_total: "prebuilds claimed",
  coderd_agents_first_connection_seconds_count: "connections",
  coderd_agents_first_connection_seconds_sum: "seconds",
  firstlight_dropped_samples_total: "dropped",
  firstlight_divergent_ids: "divergent",
  firstlight_gaps_total: "gaps",
  firstlight_unknown_values_total: "unknown",
};

/** Opens a seeded deployment whose follower has caught up. */
export async function openStage(options: StageOptions = {}): Promise<Stage> {
  const { agrees = "labels", ...rest } = options;
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createDatabase());
  const client = await database.client();
  await publish(client);
  const simulation = stack.use(
    openSimulation({ url: database.url, seed: 1, startAt: START_AT, ...rest }),
  );
  await simulation.seedDeployment();
  const folder = await mkdtemp(join(tmpdir(), "firstlight-workflow-"));
  stack.defer(async () => rm(folder, { recursive: true, force: true }));
  const statePath = join(folder, "firstlight.db");
  const firstlight = await startInProcess({ url: database.url, statePath });
  stack.defer(async () => firstlight[Symbol.asyncDispose]());
  let scrape = await firstlight.caughtUp();
  let born: readonly string[] = [];
  let untimed = await untimedOthers(client);
  const owned = stack.move();
  const run: Stage["run"] = async (work) => {
    const before = scrape;
    const result = await work();
    scrape = await firstlight.caughtUp();
    expectPossible(before, scrape, firstlight.log);
    if (agrees !== "ids") await expectSumsEqualRecount(client, scrape);
    if (agrees === "labels") await expectLabelsEqualRecount(client, scrape);
    const [was, is] = [values(before), values(scrape)];
    // Clocks often disagree about what is over in no time; the recount above has counted that, too.
    const others = await untimedOthers(client);
    is.set(NEGATIVE, (is.get(NEGATIVE) ?? 0) - others + untimed);
    untimed = others;
    born = [...is.keys()].filter((name) => !was.has(name));
    return { moved: difference(was, is), result };
  };
  return {
    simulation,
    client,
    log: firstlight.log,
    get scrape() {
      return scrape;
    },
    get born() {
      return born;
    },
    run,
    moved: async (work) => (await run(work)).moved,
    template(name, organization = "coder") {
      const { templates } = simulation.deployment;
      const found = templates.find(
        (template) => template.name === name && template.organization.name === organization,
      );
      return must(found, "no such template");
    },
    async finish() {
      await firstlight[Symbol.asyncDispose]();
      await expectLedgerEqualsTables(client, statePath, simulation);
      return readLedger(statePath);
    },
    [Symbol.asyncDispose]: async () => owned.disposeAsync(),
  };
}

/** First connections, and nothing else, by the name that `Moved` uses. */
const NEGATIVE = "dropped negative";

/** Jobs, and agents of which the first connection is timed, but not all that came before it. */
async function untimedOthers(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    `select count(*) from provisioner_jobs
     where worker_id is not null and completed_at < started_at`,
  );
  const { lights, negative } = await recountById(client);
  const untimed = [...lights].filter(
    ([agent, { queue, provision, connect }]) =>
      Math.min(queue, provision, connect) < 0 && !negative.has(agent),
  );
  return Number(rows[0]?.count) + untimed.length;
}

/** What holds between any two scrapes of Coder's ordinary life, whatever happened in between. */
function expectPossible(before: Scrape, after: Scrape, log: readonly string[]): void {
  expect(unbalanced(after)).toEqual([]);
  expect(regressions(before, after)).toEqual([]);
  expect(after.series.get("firstlight_reconnects_total"), log.join("\n")).toBe(0);
  expect(after.series.get('firstlight_lookups_total{result="missing"}')).toBe(0);
  const buckets = byLabels(after, "coderd_agents_first_connection_seconds_bucket");
  const connections = byLabels(after, "coderd_agents_first_connection_seconds_count");
  for (const [labels, count] of connections) {
    const infinite = JSON.stringify([...(JSON.parse(labels) as string[]), "+Inf"]);
    expect(buckets.get(infinite)).toBe(count);
  }
}

/** Agents are late, and start once more, all day: starts have their own test, and are compared by id (`finish`). */
const OF_STARTS = "divergent ready";

/** Everything that is followed, sums of seconds in whole microseconds, by the names that `Moved` uses. */
function values(scrape: Scrape): Map<string, number> {
  const followed = new Map(
    Object.entries(FOLLOWED).flatMap(([metric, name]) =>
      [...byLabels(scrape, metric)].map(([labels, value]) => {
        const exact = name === "seconds" ? Math.round(value * 1e6) : value;
        return [`${name} ${(JSON.parse(labels) as string[]).join("|")}`, exact] as const;
      }),
    ),
  );
  followed.delete(OF_STARTS);
  return followed;
}

function difference(was: ReadonlyMap<string, number>, is: ReadonlyMap<string, number>): Moved {
  const moved: Record<string, number> = {};
  for (const [name, value] of is) {
    const by = value - (was.get(name) ?? 0);
    if (by !== 0) moved[name] = name.startsWith("seconds ") ? by / 1e6 : by;
  }
  return moved;
}

/** Several expectations as one; what they have in common adds up. */
export function all(...parts: readonly Moved[]): Moved {
  const micros: Record<string, number> = {};
  for (const [name, by] of parts.flatMap((part) => Object.entries(part)))
    micros[name] = (micros[name] ?? 0) + Math.round(by * 1e6);
  const sums = Object.entries(micros).map(([name, by]) => [name, by / 1e6] as const);
  return Object.fromEntries(sums.filter(([, by]) => by !== 0));
}

/** organization|template|preset of a build. */
function labelsOf({ workspace: { template }, preset }: Build): string {
  return `${template.organization.name}|${template.name}|${preset?.name ?? ""}`;
}

export function attempted(build: Build): Moved {
  return { [`attempts ${labelsOf(build)}`]: 1 };
}

export function inFlight(build: Build, by: 1 | -1): Moved {
  return { [`in flight ${labelsOf(build)}`]: by };
}

/** A first build that ends well has created its workspace. */
export function ended(build: Build, status: "success" | "canceled"): Moved {
  const outcome = { [`outcomes ${labelsOf(build)}|${status}`]: 1 };
  return status === "success" ? { ...outcome, ...created(build) } : outcome;
}

export function created(build: Build): Moved {
  return { [`created ${labelsOf(build)}`]: 1 };
}

export function failed(build: Build, stage: "queue" | "provisioner", errorCode: string): Moved {
  return {
    [`outcomes ${labelsOf(build)}|failure`]: 1,
    [`failures ${labelsOf(build)}|${stage}|${errorCode}`]: 1,
  };
}

/** What the pool's own counters say of the workspaces that it began with these builds. */
export function ofPool(
  what: "created" | "failed" | "claimed",
  builds: readonly (Build | undefined)[],
): Moved {
  return all(
    ...builds.map((build): Moved => {
      const { workspace, preset } = must(build, "a prebuild");
      const { template } = workspace;
      return {
        [`prebuilds ${what} ${template.name}|${preset?.name ?? ""}|${template.organization.name}`]: 1,
      };
    }),
  );
}

/** First connections of those of these agents that have connected, under the names that are theirs now. */
export function connected(agents: readonly Agent[]): Moved {
  return all(
    ...agents.map(({ name, build: { workspace }, firstConnectedAt, createdAt }): Moved => {
      if (firstConnectedAt === null) return {};
      if (firstConnectedAt < createdAt) return { "dropped negative": 1 };
      const labels = `${workspace.template.name}|${name}|${workspace.owner.username}|${workspace.name}`;
      return {
        [`connections ${labels}`]: 1,
        [`seconds ${labels}`]: (firstConnectedAt - createdAt) / 1e6,
      };
    }),
  );
}

/** A whole first build that succeeds, and its agents. */
export function succeeded(build: Build): Moved {
  return all(attempted(build), ended(build, "success"), connected(build.agents));
}
