// The oracle: totals and ids counted by the plain SQL of sql/recount/, which knows nothing of the derivation.
// Each call runs several statements. Where somebody may be writing, call it inside a REPEATABLE READ transaction
// (or one that has imported the snapshot of the LSN to compare at).

import { readFile } from "node:fs/promises";
import type pg from "pg";
import type { Micros } from "../../src/change/micros.ts";
import type { Uuid } from "../../src/change/row.ts";

/** Upper bounds of the first-connection histogram, in seconds, inclusive. */
export const BUCKETS = [1, 10, 30, 60, 120, 300, 600, 1800, 3600] as const;

export const CREATION_BUCKETS = [1, 10, 30, 60, 300, 600, 1800, 3600] as const;
export const LIGHT_BUCKETS = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600] as const;
export const CLAIM_BUCKETS = [1, 5, 10, 20, 30, 60, 120, 180, 240, 300] as const;

export const WAIT_BUCKETS = [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 900, 1800] as const;
const QUEUE_LABELS = ["provisioner_type", "job_type", "transition", "build_reason"] as const;

const BUILD_LABELS = ["organization_name", "template_name", "preset_name"] as const;
const PREBUILD_LABELS = ["template_name", "preset_name", "organization_name"] as const;
const ENQUEUED_LABELS = ["provisioner_type", "build_reason", "transition", "status"] as const;
const WORKSPACE_LABELS = [
  "workspace_owner",
  "workspace_name",
  "template_name",
  "template_version",
  "workspace_transition",
  "status",
] as const;
const LIGHT_LABELS = ["organization_name", "template_name", "type", "phase"] as const;
const START_LABELS = [
  "template_name",
  "organization_name",
  "transition",
  "status",
  "is_prebuild",
] as const;
const AGENT_LABELS = ["template_name", "agent_name", "username", "workspace_name"] as const;

/** The key of a label set in the maps below: its values in the order of the family's labels. */
export function labelKey(...labels: readonly string[]): string {
  return JSON.stringify(labels);
}

export interface HistogramCount {
  readonly count: number;
  readonly sum: Micros;
  /** Cumulative, one per entry of `BUCKETS`; `count` is the one for +Inf. */
  readonly buckets: readonly number[];
}

/** Totals by `labelKey`. A label set that nothing was counted for is absent: compare it as 0. */
export interface Recount {
  /** organization, template, preset */
  readonly attempts: ReadonlyMap<string, number>;
  /** organization, template, preset, status */
  readonly outcomes: ReadonlyMap<string, number>;
  /** organization, template, preset, stage, error code */
  readonly failures: ReadonlyMap<string, number>;
  /** organization, template, preset */
  readonly inFlight: ReadonlyMap<string, number>;
  /** organization, template, preset → creation of the oldest build in flight */
  readonly oldestInFlight: ReadonlyMap<string, Micros>;
  /** template, agent, username, workspace */
  readonly firstConnection: ReadonlyMap<string, HistogramCount>;
  /** organization, template, type, phase */
  readonly firstLight: ReadonlyMap<string, HistogramCount>;
  /** template, organization, transition, status, is_prebuild */
  readonly startDuration: ReadonlyMap<string, HistogramCount>;
  readonly droppedNegative: number;
  /** provisioner, reason, transition, status */
  readonly enqueued: ReadonlyMap<string, number>;
  /** organization, template, preset, type */
  readonly creationDuration: ReadonlyMap<string, HistogramCount>;
  /** organization, template, preset */
  readonly claimDuration: ReadonlyMap<string, HistogramCount>;
  /** template, preset, organization */
  readonly prebuildsCreated: ReadonlyMap<string, number>;
  readonly prebuildsFailed: ReadonlyMap<string, number>;
  readonly prebuildsClaimed: ReadonlyMap<string, number>;
  /** organization, template, preset */
  readonly created: ReadonlyMap<string, number>;
  /** owner, workspace, template, version, transition, status */
  readonly builds: ReadonlyMap<string, number>;
  /** status */
  readonly latestBuild: ReadonlyMap<string, number>;
  /** status, template, version, owner, transition */
  readonly latestBuildStatus: ReadonlyMap<string, number>;
  /** username, workspace, template, version */
  readonly agentsUp: ReadonlyMap<string, number>;
  /** template, version, transition, status */
  readonly buildTimings: ReadonlyMap<string, HistogramCount>;
  /** provisioner, type, transition, reason */
  readonly queueWait: ReadonlyMap<string, HistogramCount>;
  /** provisioner, status */
  readonly jobTimings: ReadonlyMap<string, HistogramCount>;
  /** provisioner */
  readonly jobsCurrent: ReadonlyMap<string, number>;
  /** organization, template, agent; by the server's clock */
  readonly overdue: ReadonlyMap<string, number>;
}

export interface OutcomeById {
  readonly build: Uuid;
  readonly status: string;
  /** NULL, like the error code, where nothing failed. */
  readonly stage: string | null;
  readonly errorCode: string | null;
  readonly completedAt: Micros;
  /** NULL where no provisioner had the job. */
  readonly took: Micros | null;
}

/** What a build is, beside its names. */
export interface TraitsById {
  readonly transition: string;
  readonly reason: string;
  readonly provisioner: string;
  readonly initial: boolean;
  readonly prebuild: boolean;
  readonly claim: boolean;
}

export interface ConnectionById {
  readonly firstConnectedAt: Micros;
  /** Since the agent's creation. */
  readonly took: Micros;
  readonly workspace: Uuid | null;
}

/** The build that did something to its workspace. */
export interface DoneBy {
  readonly number: number;
  readonly completedAt: Micros;
}

/** The time to first light of an agent. */
export interface LightById {
  readonly type: string;
  readonly queue: Micros;
  readonly provision: Micros;
  readonly connect: Micros;
  readonly total: Micros;
}

export interface JobById {
  readonly type: string;
  readonly provisioner: string;
  readonly startedAt: Micros;
  /** From its creation to its start. */
  readonly waited: Micros;
  /** NULL, all three, while it runs. */
  readonly completedAt: Micros | null;
  readonly took: Micros | null;
  readonly status: string | null;
}

/** An agent that had not connected when its time was up. */
export interface OverdueById {
  /** When that was. */
  readonly at: Micros;
  readonly took: Micros;
  /** It connected later. */
  readonly connected: boolean;
}

/** A start that is over. `status`: null where its agents no longer tell. */
export interface ReadyById {
  readonly readyAt: Micros;
  readonly took: Micros;
  readonly status: string | null;
  readonly isPrebuild: boolean;
}

export interface RecountById {
  /** build → its creation */
  readonly attempts: ReadonlyMap<Uuid, Micros>;
  /** by build */
  readonly traits: ReadonlyMap<Uuid, TraitsById>;
  /** by job */
  readonly outcomes: ReadonlyMap<Uuid, OutcomeById>;
  /** by workspace: the build that created it, and when that was done */
  readonly created: ReadonlyMap<Uuid, DoneBy>;
  /** by workspace: the deletes of it that were done */
  readonly deletes: ReadonlyMap<Uuid, readonly DoneBy[]>;
  /** by agent, durations of 0 and more */
  readonly connections: ReadonlyMap<Uuid, ConnectionById>;
  /** by job: those of all types that a worker has or had */
  readonly jobs: ReadonlyMap<Uuid, JobById>;
  /** by agent, negative durations: dropped samples */
  readonly negative: ReadonlyMap<Uuid, ConnectionById>;
  /** by agent that has connected, of any sign */
  readonly lights: ReadonlyMap<Uuid, LightById>;
  /** by agent */
  readonly overdue: ReadonlyMap<Uuid, OverdueById>;
  /** by job */
  readonly ready: ReadonlyMap<Uuid, ReadyById>;
}

/** Counts the tables, by the names that are in them now. */
export async function recount(client: pg.ClientBase): Promise<Recount> {
  const [dropped] = await rows(client, "dropped_negative");
  return {
    attempts: values(await rows(client, "attempts"), BUILD_LABELS),
    outcomes: values(await rows(client, "outcomes"), [...BUILD_LABELS, "status"]),
    failures: values(await rows(client, "failures"), [...BUILD_LABELS, "stage", "error_code"]),
    inFlight: values(await rows(client, "in_flight"), BUILD_LABELS),
    oldestInFlight: values(await rows(client, "oldest_in_flight"), BUILD_LABELS),
    firstConnection: histograms(await rows(client, "first_connection"), AGENT_LABELS, BUCKETS),
    firstLight: histograms(await rows(client, "first_light"), LIGHT_LABELS, LIGHT_BUCKETS),
    startDuration: histograms(await rows(client, "start_duration"), START_LABELS, CREATION_BUCKETS),
    enqueued: values(await rows(client, "enqueued"), ENQUEUED_LABELS),
    creationDuration: histograms(
      await rows(client, "creation_duration"),
      [...BUILD_LABELS, "type"],
      CREATION_BUCKETS,
    ),
    claimDuration: histograms(await rows(client, "claim_duration"), BUILD_LABELS, CLAIM_BUCKETS),
    prebuildsCreated: values(await rows(client, "prebuilds_created"), PREBUILD_LABELS),
    prebuildsFailed: values(await rows(client, "prebuilds_failed"), PREBUILD_LABELS),
    prebuildsClaimed: values(await rows(client, "prebuilds_claimed"), PREBUILD_LABELS),
    created: values(await rows(client, "created"), BUILD_LABELS),
    builds: values(await rows(client, "builds"), WORKSPACE_LABELS),
    agentsUp: values(await rows(client, "agents_up"), [
      "username",
      "workspace_name",
      "template_name",
      "template_version",
    ]),
    latestBuild: values(await rows(client, "latest_build"), ["status"]),
    latestBuildStatus: values(await rows(client, "latest_build_status"), [
      "status",
      "template_name",
      "template_version",
      "workspace_owner",
      "workspace_transition",
    ]),
    buildTimings: histograms(
      await rows(client, "build_timings"),
      WORKSPACE_LABELS.slice(2),
      CREATION_BUCKETS,
    ),
    queueWait: histograms(await rows(client, "queue_wait"), QUEUE_LABELS, WAIT_BUCKETS),
    jobTimings: histograms(
      await rows(client, "job_timings"),
      ["provisioner", "status"],
      CREATION_BUCKETS,
    ),
    jobsCurrent: values(await rows(client, "jobs_current"), ["provisioner"]),
    overdue: values(await rows(client, "overdue"), [
      "organization_name",
      "template_name",
      "agent_name",
    ]),
    droppedNegative: dropped === undefined ? 0 : integer(dropped, "value"),
  };
}

/** Lists what `recount` counts. */
export async function recountById(client: pg.ClientBase): Promise<RecountById> {
  const connections = (await rows(client, "connections_by_id")).map(
    (row) =>
      [
        text(row, "agent_id"),
        {
          firstConnectedAt: integer(row, "first_connected_at"),
          took: integer(row, "took"),
          workspace: textOrNull(row, "workspace_id"),
        },
      ] as const,
  );
  const builds = await rows(client, "attempts_by_id");
  const deletes = new Map<Uuid, DoneBy[]>();
  for (const row of await rows(client, "deleted_by_id")) {
    const workspace = text(row, "workspace_id");
    deletes.set(workspace, [...(deletes.get(workspace) ?? []), doneBy(row)]);
  }
  return {
    attempts: new Map(builds.map((row) => [text(row, "build_id"), integer(row, "created_at")])),
    traits: new Map(
      builds.map((row) => [
        text(row, "build_id"),
        {
          transition: text(row, "transition"),
          reason: text(row, "reason"),
          provisioner: text(row, "provisioner"),
          initial: row["initial"] === true,
          prebuild: row["prebuild"] === true,
          claim: row["claim"] === true,
        },
      ]),
    ),
    outcomes: new Map(
      (await rows(client, "outcomes_by_id")).map((row) => [
        text(row, "job_id"),
        {
          build: text(row, "build_id"),
          status: text(row, "status"),
          stage: textOrNull(row, "stage"),
          errorCode: textOrNull(row, "error_code"),
          completedAt: integer(row, "completed_at"),
          took: integerOrNull(row, "took"),
        },
      ]),
    ),
    created: new Map(
      (await rows(client, "created_by_id")).map((row) => [text(row, "workspace_id"), doneBy(row)]),
    ),
    deletes,
    jobs: new Map(
      (await rows(client, "jobs_by_id")).map((row) => [
        text(row, "job_id"),
        {
          type: text(row, "type"),
          provisioner: text(row, "provisioner"),
          startedAt: integer(row, "started_at"),
          waited: integer(row, "waited"),
          completedAt: integerOrNull(row, "completed_at"),
          took: integerOrNull(row, "took"),
          status: textOrNull(row, "status"),
        },
      ]),
    ),
    connections: new Map(connections.filter(([, { took }]) => took >= 0)),
    negative: new Map(connections.filter(([, { took }]) => took < 0)),
    overdue: await recountOverdue(client),
    lights: new Map(
      (await rows(client, "first_light_by_id")).map((row) => [
        text(row, "agent_id"),
        {
          type: text(row, "type"),
          queue: integer(row, "queue"),
          provision: integer(row, "provision"),
          connect: integer(row, "connect"),
          total: integer(row, "total"),
        },
      ]),
    ),
    ready: new Map(
      (await rows(client, "ready_by_id")).map((row) => [
        text(row, "job_id"),
        {
          readyAt: integer(row, "ready_at"),
          took: integer(row, "took"),
          status: textOrNull(row, "status"),
          isPrebuild: row["is_prebuild"] === true,
        },
      ]),
    ),
  };
}

const doneBy = (row: SqlRow): DoneBy => ({
  number: integer(row, "number"),
  completedAt: integer(row, "completed_at"),
});
/** The part of `recountById` that the server's clock decides. */
export async function recountOverdue(
  client: pg.ClientBase,
): Promise<ReadonlyMap<Uuid, OverdueById>> {
  const found = await rows(client, "overdue_by_id");
  return new Map(
    found.map((row) => [
      text(row, "agent_id"),
      {
        at: integer(row, "deadline"),
        took: integer(row, "took"),
        connected: row["connected"] === true,
      },
    ]),
  );
}

type SqlRow = Readonly<Record<string, unknown>>;

async function rows(client: pg.ClientBase, name: string): Promise<readonly SqlRow[]> {
  const sql = await readFile(new URL(`../../sql/recount/${name}.sql`, import.meta.url), "utf8");
  return (await client.query<Record<string, unknown>>(sql)).rows;
}

function values(found: readonly SqlRow[], labels: readonly string[]): Map<string, number> {
  return byLabels(found, labels, (row) => integer(row, "value"));
}

function histograms(
  found: readonly SqlRow[],
  labels: readonly string[],
  bounds: readonly number[],
): Map<string, HistogramCount> {
  return byLabels(found, labels, (row) => ({
    count: integer(row, "count"),
    sum: integer(row, "sum"),
    buckets: bounds.map((bound) => integer(row, `le_${bound}`)),
  }));
}

function byLabels<T>(
  found: readonly SqlRow[],
  labels: readonly string[],
  read: (row: SqlRow) => T,
): Map<string, T> {
  return new Map(
    found.map((row) => [labelKey(...labels.map((label) => text(row, label))), read(row)]),
  );
}

function text(row: SqlRow, column: string): string {
  const value = textOrNull(row, column);
  if (value === null) throw new TypeError(`recount: ${column} is NULL`);
  return value;
}

function textOrNull(row: SqlRow, column: string): string | null {
  const value = row[column];
  if (value !== null && typeof value !== "string")
    throw new TypeError(`recount: ${column} is not text`);
  return value;
}

function integerOrNull(row: SqlRow, column: string): number | null {
  return row[column] === null ? null : integer(row, column);
}

/** `pg` hands bigints over as text, unless a test's client parses them. */
function integer(row: SqlRow, column: string): number {
  const value = Number(row[column] ?? Number.NaN);
  if (!Number.isSafeInteger(value))
    throw new RangeError(`recount: ${column} is not a safe integer`);
  return value;
}
