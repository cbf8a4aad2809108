// The tables as a source of rows: what a baseline reads inside its snapshot. Joins and index order, but no aggregate and
// no sort; names come joined in, and `error` leaves the server only as "empty or not".

import {
  type Cells,
  type OnUnknown,
  ROW_COLUMNS,
  agentRow,
  buildRow,
  jobRow,
} from "../change/cells.ts";
import {
  type AgentRow,
  type BuildRow,
  type JobRow,
  PREBUILDS_USER,
  type Uuid,
} from "../change/row.ts";
import { copyRows } from "./copy.ts";
import { type AgentPlace, type BuildPlace, CLAIMED, CONNECTION_TIMEOUT, TAKEN } from "./lookup.ts";
import { SECOND, timeOrNull } from "../change/micros.ts";
import { type Session } from "./session.ts";

/** A build, its job as it stands, and the names of today. */
export interface BuildRecord {
  readonly build: BuildRow;
  readonly job: JobRow;
  readonly place: BuildPlace;
}

/** An agent of a workspace build, and where it belongs today. */
export interface AgentRecord {
  readonly agent: AgentRow;
  readonly place: AgentPlace;
}

const NAMES = `
  left join public.workspaces on workspaces.id = builds.workspace_id
  left join public.templates on templates.id = workspaces.template_id
  left join public.organizations on organizations.id = workspaces.organization_id
  left join public.template_version_presets as presets on presets.id = builds.template_version_preset_id`;

const BUILD_COLUMNS = ROW_COLUMNS.workspace_builds;
/** `error` is free text, which stays on the server: it is asked below whether it is empty. */
const JOB_COLUMNS = ROW_COLUMNS.provisioner_jobs.filter((column) => column !== "error");
const AGENT_COLUMNS = ROW_COLUMNS.workspace_agents;

const of = (table: string, columns: readonly string[]): string[] =>
  columns.map((column) => `${table}.${column}`);

/** Builds with their jobs: without parameters, for COPY. */
export const BUILDS = `
  select ${[...of("builds", BUILD_COLUMNS), ...of("jobs", JOB_COLUMNS)].join(", ")},
    case when jobs.error <> '' then 'set' end, organizations.name, templates.name, presets.name,
    versions.name, users.username, workspaces.name, workspaces.deleted,
    ${CLAIMED}
  from public.workspace_builds as builds
  join public.provisioner_jobs as jobs on jobs.id = builds.job_id
  ${NAMES}
  left join public.template_versions as versions on versions.id = builds.template_version_id
  left join public.users on users.id = workspaces.owner_id
  left join public.workspace_builds as origin on origin.workspace_id = builds.workspace_id
    and origin.build_number = 1 and origin.initiator_id = '${PREBUILDS_USER}'
    and builds.build_number > 1 and builds.transition = 'start' and builds.initiator_id <> '${PREBUILDS_USER}'
  left join public.template_version_presets as origin_presets on origin_presets.id = origin.template_version_preset_id`;

/** Jobs that build no workspace: imports and dry runs, a few for each version. */
export const OTHER_JOBS = `
  select ${of("jobs", JOB_COLUMNS).join(", ")}, case when jobs.error <> '' then 'set' end
  from public.provisioner_jobs as jobs
  where jobs.type <> 'workspace_build'
    and not exists (select from public.workspace_builds as builds where builds.job_id = jobs.id)`;

/** Agents of workspace builds: without parameters, for COPY. */
export const AGENTS = `
  select ${of("agents", AGENT_COLUMNS).join(", ")},
    organizations.name, templates.name, presets.name, users.username, workspaces.name,
    jobs.id, builds.workspace_id, builds.transition, builds.created_at, ${TAKEN}, jobs.completed_at, ${CONNECTION_TIMEOUT}
  from public.workspace_agents as agents
  join public.workspace_resources as resources on resources.id = agents.resource_id
  join public.provisioner_jobs as jobs on jobs.id = resources.job_id and jobs.type = 'workspace_build'
  left join public.workspace_builds as builds on builds.job_id = jobs.id
  ${NAMES}
  left join public.users on users.id = workspaces.owner_id`;

/** Workspaces that are deleted, for COPY. */
const DELETED = "select id from public.workspaces where deleted";

/** For the transaction that reads: one backend at work, not three. The server has other things to do. */
export const READING_SETTINGS = "set local max_parallel_workers_per_gather = 0";

/** Builds and agents. */
export interface RowCounts<N = number> {
  builds: N;
  agents: N;
}

/** How many builds and agents there are about, by what the server's last analyze says; null where there was none. */
export async function estimateRows(session: Session): Promise<RowCounts<number | null>> {
  const rows = await session.query<{ relname: string; reltuples: number }>(
    `select relname, reltuples::integer from pg_catalog.pg_class
     where oid in ('public.workspace_builds'::regclass, 'public.workspace_agents'::regclass) and reltuples > 0`,
  );
  const about = new Map(rows.map(({ relname, reltuples }) => [relname, reltuples]));
  return {
    builds: about.get("workspace_builds") ?? null,
    agents: about.get("workspace_agents") ?? null,
  };
}

/** Every build, in groups as they arrive. */
export async function* readBuilds(
  session: Session,
  onUnknown: OnUnknown,
): AsyncGenerator<BuildRecord[]> {
  const errorAt = BUILD_COLUMNS.length + JOB_COLUMNS.length;
  const buildCells = cellsFrom(0, BUILD_COLUMNS);
  const jobCells = cellsFrom(BUILD_COLUMNS.length, JOB_COLUMNS);
  for await (const rows of copyRows(session, BUILDS)) {
    yield rows.map((row) => {
      const build = buildRow(buildCells(row), onUnknown);
      const cells = jobCells(row);
      const job = jobRow(
        (column) => (column === "error" ? (row[errorAt] ?? null) : cells(column)),
        onUnknown,
      );
      const [
        organization = null,
        template = null,
        preset = null,
        version = null,
        owner = null,
        workspace = null,
        deleted = null,
        claimed = null,
      ] = row.slice(errorAt + 1);
      const names = { organization, template, preset, version, owner, workspace };
      const { provisioner } = job;
      const more = { deleted: deleted !== "f", provisioner, claimed };
      return { build, job, place: { build: build.id, ...names, ...more } };
    });
  }
}

/** Every workspace that is deleted, in groups as they arrive. */
export async function* readDeleted(session: Session): AsyncGenerator<Uuid[]> {
  for await (const rows of copyRows(session, DELETED)) yield rows.flatMap(([id]) => id ?? []);
}

/** Every job that builds no workspace, in groups as they arrive. */
export async function* readOtherJobs(
  session: Session,
  onUnknown: OnUnknown,
): AsyncGenerator<JobRow[]> {
  const jobCells = cellsFrom(0, [...JOB_COLUMNS, "error"]);
  for await (const rows of copyRows(session, OTHER_JOBS))
    yield rows.map((row) => jobRow(jobCells(row), onUnknown));
}

/** Every agent of every workspace build, in groups as they arrive. */
export async function* readAgents(session: Session): AsyncGenerator<AgentRecord[]> {
  const cells = cellsFrom(0, AGENT_COLUMNS);
  for await (const rows of copyRows(session, AGENTS)) {
    yield rows.map((row) => {
      const agent = agentRow(cells(row), true);
      const [
        organization = null,
        template = null,
        preset = null,
        username = null,
        workspace = null,
        job = null,
        workspaceId = null,
        transition = null,
        createdAt = null,
        startedAt = null,
        completedAt = null,
        seconds = null,
      ] = row.slice(AGENT_COLUMNS.length);
      const names = { organization, template, preset, username, workspace };
      const build = { job, workspaceId };
      const times = {
        transition,
        createdAt: timeOrNull(createdAt),
        startedAt: timeOrNull(startedAt),
        completedAt: timeOrNull(completedAt),
      };
      const timeout = seconds === null ? null : Number(seconds) * SECOND;
      const more = { jobType: "workspace_build", ...build, timeout };
      return { agent, place: { agent: agent.id, ...more, ...names, ...times } };
    });
  }
}

/** Reads these columns of a row, of which the first is at `start`. */
function cellsFrom(
  start: number,
  columns: readonly string[],
): (row: readonly (string | null)[]) => Cells {
  const positions = new Map(columns.map((column, i) => [column, start + i]));
  return (row) => (column) => {
    const position = positions.get(column);
    if (position === undefined) throw new TypeError(`column ${column} was not read`);
    return row[position] ?? null;
  };
}
