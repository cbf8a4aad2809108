// The simulation as a workload: the same plan for a seed, quiescence, a tally that the tables bear out, secrets in place.

import type pg from "pg";
import { expect, test } from "vitest";
import { WORKFLOWS } from "../../../src/demo/coder/mix.ts";
import type { Expected } from "../../../src/demo/coder/tally.ts";
import { openStage } from "./support/stage.ts";
import { listen } from "./support/wal.ts";

const CANARIES = {
  error: "canary-error",
  authToken: "0badcafe-0000-4000-8000-00000000cafe",
  provisionerState: "canary-state",
  input: "canary-input",
};

test("the same seed makes the same rows, another seed others", async () => {
  const first = await contents(7);
  expect(await contents(7)).toEqual(first);
  expect(await contents(8)).not.toEqual(first);
});

async function contents(seed: number): Promise<unknown> {
  await using stage = await openStage({ seed, divergent: true, oddNames: true });
  await stage.simulation.run({ workflows: 60 });
  const { rows } = await stage.client.query(`
      select md5(string_agg(row, '' order by row)) from (
        select provisioner_jobs::text from provisioner_jobs
        union all select workspace_builds::text from workspace_builds
        union all select workspace_agents::text from workspace_agents
        union all select workspaces::text from workspaces
      ) as everything (row)`);
  return rows;
}

test.each([
  { seed: 1, divergent: false },
  { seed: 2, divergent: true },
  { seed: 3, divergent: false, agentsOn: "all", softDelete: false, replicas: 1 },
  { seed: 4, divergent: true, oddNames: true, skewMs: 5_000, heartbeats: 0 },
] as const)("the tally of $seed is what the tables say, divergent ids apart", async (options) => {
  await using stage = await openStage(options);
  await stage.simulation.run({ workflows: 110 });
  const expected = stage.simulation.expected();
  const apart = new Set(expected.divergent.map(({ id }) => id));
  expect(apart.size > 0).toBe(options.divergent);
  expect(attempted(expected)).toEqual(await attemptedRows(stage.client));
  const ends = tableOf(await endedRows(stage.client));
  const connections = tableOf(await connectedRows(stage.client));
  expect(without(tableOf(ended(expected)), apart)).toEqual(without(ends, apart));
  expect(without(tableOf(connected(expected)), apart)).toEqual(without(connections, apart));
});

test("divergent ids do differ from the tables, each in the way it says", async () => {
  await using stage = await openStage({ divergent: true });
  const { workflows } = stage.simulation;
  const reaped = await workflows.reapedThenCompletes();
  const twice = await workflows.completesTwice();
  const overlapping = await workflows.overlappingConnections();
  const expected = stage.simulation.expected();
  expect(expected.divergent.map(({ id, why }) => [id, why])).toEqual([
    [reaped.job.id, "reaped_then_completed"],
    [twice.job.id, "completed_twice"],
    [overlapping.agents[0]?.id, "overlapping_connections"],
  ]);
  const ends = tableOf(await endedRows(stage.client));
  const told = tableOf(ended(expected));
  for (const { job } of [reaped, twice]) expect(ends.get(job.id)).not.toEqual(told.get(job.id));
  expect(expected.ends.get(reaped.job.id)?.end).toMatchObject({ status: "failure" });
  const connections = tableOf(await connectedRows(stage.client));
  const id = overlapping.agents[0]?.id ?? "";
  expect(connections.get(id)).not.toEqual(tableOf(connected(expected)).get(id));
});

test("every ending has the status that Coder gives it", async () => {
  await using stage = await openStage({ heartbeats: 0 });
  const { workflows } = stage.simulation;
  const endings = {
    createRegular: "succeeded",
    createFails: "failed",
    createFailsWithCode: "failed",
    acquireFails: "failed",
    cancelPending: "canceled",
    cancelRunning: "failed",
    cancelRunningButBuilt: "canceled",
    cancelRunningThenReaped: "failed",
    reapPending: "failed",
    reapHung: "failed",
    rolledBackThenCreated: "succeeded",
    createdAfterSavepoint: "succeeded",
    secondCompletionRefused: "succeeded",
    staysPending: "pending",
    staysRunning: "running",
  } as const;
  const found: Record<string, unknown> = {};
  for (const name of Object.keys(endings) as (keyof typeof endings)[]) {
    const { job } = await workflows[name]();
    const { rows } = await stage.client.query(
      "select job_status from provisioner_jobs where id = $1",
      [job.id],
    );
    found[name] = rows[0]?.job_status;
    expect(job.status).toBe(found[name]);
  }
  expect(found).toEqual(endings);
});

test("stages and codes of failures are what the job's row gives away", async () => {
  await using stage = await openStage({ heartbeats: 0 });
  const { workflows } = stage.simulation;
  const end = async (build: Promise<{ job: { id: string } }>): Promise<unknown> => {
    const { job } = await build;
    return stage.simulation.expected().ends.get(job.id)?.end;
  };
  expect(await end(workflows.reapPending())).toEqual({
    status: "failure",
    stage: "queue",
    errorCode: "other",
  });
  expect(await end(workflows.reapHung())).toEqual({
    status: "failure",
    stage: "provisioner",
    errorCode: "other",
  });
  expect(await end(workflows.cancelRunning())).toEqual({
    status: "failure",
    stage: "provisioner",
    errorCode: "user_canceled",
  });
  expect(await end(workflows.createFailsWithCode())).toMatchObject({
    errorCode: expect.stringMatching(/^(REQUIRED_TEMPLATE_VARIABLES|INSUFFICIENT_QUOTA)$/),
  });
});

test("every workflow runs alone and writes something", async () => {
  await using stage = await openStage({ heartbeats: 1, softDelete: false });
  const wal = await listen(stage.client);
  for (const name of Object.keys(WORKFLOWS).sort() as (keyof typeof WORKFLOWS)[]) {
    await stage.simulation.workflows[name]();
    expect([name, (await wal.read()).length > 0]).toEqual([name, true]);
  }
});

test("a migration burst is one transaction with very many rows", async () => {
  await using stage = await openStage({ heartbeats: 0, softDelete: false });
  const { simulation, client } = stage;
  for (let i = 0; i < 10; i += 1) await simulation.workflows.stop();
  const wal = await listen(client);
  await simulation.workflows.softDeleteBurst();
  await simulation.workflows.rewriteBurst();
  const [soft, rewrite, ...rest] = await wal.read();
  expect(rest).toEqual([]);
  expect(soft?.changes.length).toBeGreaterThan(5);
  expect(new Set(soft?.changes)).toEqual(new Set(["update workspace_agents"]));
  expect(new Set(rewrite?.changes)).toEqual(
    new Set(["update provisioner_jobs", "update workspace_builds"]),
  );
  const jobs = await client.query("select from provisioner_jobs");
  expect(rewrite?.changes.filter((change) => change.endsWith("jobs"))).toHaveLength(
    jobs.rowCount ?? 0,
  );
});

test("secrets are in the columns that must never be published", async () => {
  await using stage = await openStage({ canaries: CANARIES });
  await stage.simulation.workflows.createFails();
  await stage.simulation.workflows.createRegular();
  const { rows } = await stage.client.query(
    `select
       (select bool_and(error like '%' || $1 || '%') from provisioner_jobs where error <> '') as error,
       (select bool_and(auth_token::text = $2 and environment_variables::text like '%' || $2 || '%')
          from workspace_agents) as token,
       (select bool_or(convert_from(provisioner_state, 'UTF8') like '%' || $3 || '%') from workspace_builds) as state,
       (select bool_and(input::text like '%' || $4 || '%') from provisioner_jobs) as input`,
    Object.values(CANARIES),
  );
  expect(rows).toEqual([{ error: true, token: true, state: true, input: true }]);
});

test("an aborted run leaves no transaction open, and the next run finishes it", async () => {
  await using stage = await openStage();
  const controller = new AbortController();
  const running = stage.simulation.run({ workflows: 40, signal: controller.signal });
  while (stage.simulation.expected().attempted.length < 5) await new Promise(setImmediate);
  controller.abort();
  await expect(running).rejects.toThrow(/abort/i);
  expect(await openTransactions(stage.client)).toBe(0);
  await stage.simulation.run({ workflows: 0 });
  const expected = stage.simulation.expected();
  expect(ended(expected)).toEqual(await endedRows(stage.client));
});

async function openTransactions(client: pg.Client): Promise<number> {
  const { rows } = await client.query(
    `select count(*)::int as open from pg_stat_activity
     where application_name = 'coderd' and state like 'idle in transaction%' and datname = current_database()`,
  );
  return rows[0].open;
}

type Line = readonly [id: string, ...unknown[]];

const tableOf = (lines: readonly Line[]): Map<string, Line> =>
  new Map(lines.map((line) => [line[0], line]));

const without = (table: Map<string, Line>, ids: ReadonlySet<string>): Line[] =>
  [...table.values()].filter(([id]) => !ids.has(id));

const byId = (lines: Line[]): Line[] => lines.sort(([a], [b]) => (a < b ? -1 : 1));

function attempted(expected: Expected): Line[] {
  return byId(expected.attempted.map((build) => [build.id, build.job, build.preset]));
}

function ended(expected: Expected): Line[] {
  return byId(
    [...expected.ends.values()].map(({ job, type, completedAt, startedAt, end }) => [
      job,
      type,
      end.status,
      end.status === "failure" ? end.stage : null,
      end.status === "failure" ? end.errorCode : null,
      completedAt,
      startedAt,
    ]),
  );
}

function connected(expected: Expected): Line[] {
  return byId(
    expected.connected.map((agent) => [agent.id, agent.took, agent.names.agent, agent.parent]),
  );
}

async function select(client: pg.Client, query: string): Promise<Line[]> {
  const { rows } = await client.query<[string, ...unknown[]]>({ text: query, rowMode: "array" });
  return byId(rows);
}

const micros = (column: string): string => `(extract(epoch from ${column}) * 1000000)::float8`;

async function attemptedRows(client: pg.Client): Promise<Line[]> {
  return select(
    client,
    `select id, job_id, template_version_preset_id from workspace_builds
     where build_number = 1 and transition = 'start' and initiator_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0'`,
  );
}

async function endedRows(client: pg.Client): Promise<Line[]> {
  return select(
    client,
    `select id, type, case job_status when 'succeeded' then 'success' when 'failed' then 'failure' else 'canceled' end,
       case when job_status <> 'failed' then null when worker_id is null then 'queue' else 'provisioner' end,
       case when job_status <> 'failed' then null
         else coalesce(error_code, case when canceled_at is null then 'other' else 'user_canceled' end) end,
       ${micros("completed_at")}, ${micros("started_at")}
     from provisioner_jobs where completed_at is not null`,
  );
}

async function connectedRows(client: pg.Client): Promise<Line[]> {
  return select(
    client,
    `select id, ${micros("first_connected_at")} - ${micros("created_at")}, name, parent_id
     from workspace_agents where first_connected_at is not null`,
  );
}
