// What the stream lacks, fetched by primary key in batches: names, and where an agent belongs.

import type { Session } from "./session.ts";
import { type AgentRow, PREBUILDS_USER, type Uuid } from "../change/row.ts";
import { type Micros, SECOND, parseTimestamptz, timeOrNull } from "../change/micros.ts";

/** Names of a build's workspace, and what its job and the workspace's first build tell. A part that is gone is null. */
export interface BuildPlace {
  readonly build: Uuid;
  readonly organization: string | null;
  readonly template: string | null;
  readonly preset: string | null;
  readonly version: string | null;
  readonly owner: string | null;
  readonly workspace: string | null;
  /** Whether the workspace is deleted by now; null where it is gone. */
  readonly deleted: boolean | null;
  readonly provisioner: string | null;
  /** The preset of the prebuild that it claims, '' for one without; null: it claims none. */
  readonly claimed: string | null;
}

/** What is looked up of a build. `mayClaim`: whether it may be the claim of a prebuild. */
export interface WantedBuild {
  readonly id: Uuid;
  readonly workspace: Uuid;
  readonly preset: Uuid | null;
  readonly version: Uuid;
  readonly job: Uuid;
  readonly mayClaim: boolean;
}

/**
 * How a claim is told: Coder writes a stage into the job's input, which is read nowhere else (coderd/provisionerdserver,
 * `prebuilt_workspace_stage`: absent none, 1 create, 2 claim), and for builds of what began as a prebuild only.
 */
export const CLAIMED = `
  case when origin.id is not null and jobs.input ->> 'prebuilt_workspace_stage' = '2'
       then coalesce(origin_presets.name, '') end`;

/**
 * Where an agent belongs. `jobType` is null when its resource or the job is gone, the build's time of creation where the job is of no
 * build.
 */
export interface AgentPlace {
  readonly agent: Uuid;
  readonly jobType: string | null;
  readonly job: Uuid | null;
  /** Of the build, like what it does and its time of creation. */
  readonly workspaceId: Uuid | null;
  readonly transition: string | null;
  readonly createdAt: Micros | null;
  /** When a provisioner took the job; null when none did. */
  readonly startedAt: Micros | null;
  readonly completedAt: Micros | null;
  /** How long the agent may take to connect; null: any time, or it is gone. */
  readonly timeout: Micros | null;
  readonly organization: string | null;
  readonly template: string | null;
  readonly preset: string | null;
  readonly username: string | null;
  readonly workspace: string | null;
}

/** When a provisioner took the job. Who ends one that nobody took writes a start time, too, but no worker. */
export const TAKEN = "case when jobs.worker_id is not null then jobs.started_at end";

/**
 * How long an agent may take to connect, in seconds. Agents of other builds than starts are left there by older releases (up to v2.36),
 * and nobody expects them to connect.
 */
export const CONNECTION_TIMEOUT = `
  case when builds.transition = 'start' and agents.connection_timeout_seconds > 0 then agents.connection_timeout_seconds end`;

/** A template, or a preset of its active version, that can be built. */
export interface OfferPlace {
  readonly id: Uuid;
  readonly at: Micros;
  readonly organization: string;
  readonly template: string;
  readonly preset: string;
  /** The import job that was asked about; null when all templates were. */
  readonly importJob: Uuid | null;
}

const BUILDS = `
  select wanted.build, organizations.name as organization, templates.name as template, presets.name as preset,
    versions.name as version, users.username as owner, workspaces.name as workspace,
    workspaces.deleted, jobs.provisioner::text as provisioner, ${CLAIMED} as claimed
  from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::boolean[])
    as wanted (build, workspace, preset, version, job, may_claim)
  left join public.provisioner_jobs as jobs on jobs.id = wanted.job
  left join public.workspace_builds as origin on wanted.may_claim and origin.workspace_id = wanted.workspace
    and origin.build_number = 1 and origin.initiator_id = '${PREBUILDS_USER}'
  left join public.template_version_presets as origin_presets on origin_presets.id = origin.template_version_preset_id
  left join public.template_versions as versions on versions.id = wanted.version
  left join public.workspaces on workspaces.id = wanted.workspace
  left join public.users on users.id = workspaces.owner_id
  left join public.templates on templates.id = workspaces.template_id
  left join public.organizations on organizations.id = workspaces.organization_id
  left join public.template_version_presets as presets on presets.id = wanted.preset`;

const AGENTS = `
  select wanted.agent, jobs.type::text as "jobType", jobs.id as job, builds.workspace_id as "workspaceId",
    builds.transition::text as transition, builds.created_at::text as "createdAt", (${TAKEN})::text as "startedAt",
    jobs.completed_at::text as "completedAt", ${CONNECTION_TIMEOUT} as timeout, organizations.name as organization,
    templates.name as template, presets.name as preset, users.username, workspaces.name as workspace
  from unnest($1::uuid[], $2::uuid[]) as wanted (agent, resource)
  left join public.workspace_agents as agents on agents.id = wanted.agent
  left join public.workspace_resources as resources on resources.id = wanted.resource
  left join public.provisioner_jobs as jobs on jobs.id = resources.job_id
  left join public.workspace_builds as builds on builds.job_id = jobs.id
  left join public.workspaces on workspaces.id = builds.workspace_id
  left join public.users on users.id = workspaces.owner_id
  left join public.templates on templates.id = workspaces.template_id
  left join public.organizations on organizations.id = workspaces.organization_id
  left join public.template_version_presets as presets on presets.id = builds.template_version_preset_id`;

/** How the starts of builds go: of each with one of these resources, all agents but sub-agents, deleted ones too. */
const STARTS = `
  select builds.job_id as job, builds.created_at::text as "createdAt", wanted.resource,
    agents.id, agents.lifecycle_state::text as lifecycle, agents.ready_at::text as "readyAt"
  from unnest($1::uuid[]) as wanted (resource)
  join public.workspace_resources as own on own.id = wanted.resource
  join public.workspace_builds as builds on builds.job_id = own.job_id
  join public.workspace_resources as resources on resources.job_id = own.job_id
  join public.workspace_agents as agents on agents.resource_id = resources.id and agents.parent_id is null`;

/** Templates and the presets of one version each: the version that an import job made, or the active one. */
const OFFERS = `
  with versions as (
    select template_versions.id, template_versions.template_id, template_versions.job_id as import
    from public.template_versions where template_versions.job_id = any ($1::uuid[])
    union all
    select templates.active_version_id, templates.id, null
    from public.templates where $1 is null and not templates.deleted
  ), offered as (
    select versions.template_id as id, versions.template_id, '' as preset, versions.import from versions
    union all
    select presets.id, versions.template_id, presets.name, versions.import
    from versions join public.template_version_presets as presets on presets.template_version_id = versions.id
  )
  select offered.id, (extract(epoch from templates.created_at) * 1000000)::bigint::text as at,
    organizations.name as organization, templates.name as template, offered.preset, offered.import as "importJob"
  from offered
  join public.templates on templates.id = offered.template_id
  join public.organizations on organizations.id = templates.organization_id`;

/** Names and more for builds. A missing workspace gives a row of nulls, never no row. */
export async function lookupBuilds(
  session: Session,
  builds: readonly WantedBuild[],
): Promise<BuildPlace[]> {
  return session.query<BuildPlace>(BUILDS, [
    builds.map(({ id }) => id),
    builds.map(({ workspace }) => workspace),
    builds.map(({ preset }) => preset),
    builds.map(({ version }) => version),
    builds.map(({ job }) => job),
    builds.map(({ mayClaim }) => mayClaim),
  ]);
}

/** Places of agents; one row for each distinct agent. A missing one gives a row all the same. */
export async function lookupAgents(
  session: Session,
  agents: readonly Pick<AgentRow, "id" | "resource">[],
): Promise<AgentPlace[]> {
  const wanted = new Map(agents.map(({ id, resource }) => [id, resource]));
  const rows = await session.query<AgentAnswer>(AGENTS, [[...wanted.keys()], [...wanted.values()]]);
  return rows.map((row) => ({
    ...row,
    timeout: row.timeout === null ? null : row.timeout * SECOND,
    createdAt: timeOrNull(row.createdAt),
    startedAt: timeOrNull(row.startedAt),
    completedAt: timeOrNull(row.completedAt),
  }));
}

type Times = "createdAt" | "startedAt" | "completedAt";
type AgentAnswer = Omit<AgentPlace, Times> & Readonly<Record<Times, string | null>>;

/** One agent of the build that a resource belongs to. */
export interface StartPlace extends Pick<AgentRow, "id" | "lifecycle" | "readyAt"> {
  readonly resource: Uuid;
  readonly job: Uuid;
  readonly createdAt: Micros;
}

/** The agents of the builds that have these resources, as they are now; none where the resource or its build is gone. */
export async function lookupStarts(
  session: Session,
  resources: readonly Uuid[],
): Promise<StartPlace[]> {
  const rows = await session.query<
    Omit<StartPlace, "createdAt" | "readyAt"> & { createdAt: string; readyAt: string | null }
  >(STARTS, [[...new Set(resources)]]);
  return rows.map((row) => ({
    ...row,
    createdAt: parseTimestamptz(row.createdAt),
    readyAt: timeOrNull(row.readyAt),
  }));
}

/** What can be built since these import jobs completed, or, with null, at all. */
export async function lookupOffers(
  session: Session,
  importJobs: readonly Uuid[] | null,
): Promise<OfferPlace[]> {
  const rows = await session.query<Omit<OfferPlace, "at"> & { at: string }>(OFFERS, [importJobs]);
  return rows.map((row) => ({ ...row, at: Number(row.at) }));
}

/** The time that makes a build, job or agent final, null while it is not. What is not there gives no row. */
export interface FinalTime {
  readonly kind: "attempted" | "ended" | "connected" | "started" | "ran" | "ready" | "overdue";
  readonly id: Uuid;
  readonly at: Micros | null;
}

const FINAL_TIMES = `
  select 'attempted' as kind, id, created_at::text as at from public.workspace_builds where id = any ($1::uuid[])
  union all
  select 'ended', id, completed_at::text as at from public.provisioner_jobs
  where id = any ($1::uuid[])
  union all
  select 'ran', id, completed_at::text as at from public.provisioner_jobs
  where id = any ($1::uuid[])
  union all
  select 'started', id, started_at::text as at from public.provisioner_jobs
  where id = any ($1::uuid[])
  union all
  select 'ready', resources.job_id, case when bool_and(agents.ready_at is not null) then max(agents.ready_at) end::text
  from public.workspace_resources as resources
  join public.workspace_agents as agents on agents.resource_id = resources.id and agents.parent_id is null
  where resources.job_id = any ($1::uuid[]) group by resources.job_id
  union all
  select 'connected', id, first_connected_at::text as at from public.workspace_agents
  where id = any ($1::uuid[])
  union all
  select 'overdue', id, case when first_connected_at <= deadline then null else deadline end::text as at
  from public.workspace_agents,
    lateral (select created_at + pg_catalog.make_interval(secs => connection_timeout_seconds) as deadline) as limits
  where id = any ($1::uuid[])`;

/** Looks these ids up in all three tables by primary key. */
export async function lookupFinalTimes(
  session: Session,
  ids: readonly Uuid[],
): Promise<FinalTime[]> {
  const rows = await session.query<Omit<FinalTime, "at"> & { at: string | null }>(FINAL_TIMES, [
    ids,
  ]);
  return rows.map((row) => ({ ...row, at: timeOrNull(row.at) }));
}

/**
 * Which of these transactions queries can see. A primary streams a commit before it is visible while synchronous
 * replication holds the writer up, and such a look-up would find no row. Begin's 32-bit xids are widened to the epoch
 * nearest to the snapshot's xmax: a live xid may lie beyond it. A standby streams only what it has replayed, and its snapshots
 * list no xids, so there everything is visible; asked each time, because a standby may be promoted under us.
 */
export async function allVisible(session: Session, xids: readonly number[]): Promise<boolean> {
  const [row] = await session.query<{ visible: boolean | null }>(
    `with here as (
       select snapshot, pg_catalog.pg_snapshot_xmax(snapshot)::text::bigint as xmax
       from pg_catalog.pg_current_snapshot() as snapshot
     ), guess as (
       select snapshot, xmax, (xmax >> 32 << 32) | xid as full_xid
       from here, unnest($1::bigint[]) as wanted (xid)
     )
     select pg_catalog.pg_is_in_recovery() or bool_and(pg_catalog.pg_visible_in_snapshot((
       case when full_xid - xmax > 1::bigint << 31 then full_xid - (1::bigint << 32)
            when xmax - full_xid > 1::bigint << 31 then full_xid + (1::bigint << 32)
            else full_xid end)::text::xid8, snapshot)) as visible
     from guess`,
    [xids],
  );
  return row?.visible ?? true;
}
