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
import { type AgentRow, type BuildRow, type JobRow, PREBUILDS_USER } from "../change/row.ts";
import { copyRows } from "./copy.ts";
import type { AgentPlace, BuildPlace } from "./lookup.ts";
import { type Session } from "./session.ts";

/** A first build, its job as it stands, and the names of today. */
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

const BUILDS = `
  select ${[...of("builds", BUILD_COLUMNS), ...of("jobs", JOB_COLUMNS)].join(", ")},
    case when jobs.error <> '' then 'set' end, organizations.name, templates.name, presets.name
  from public.workspace_builds as builds
  join public.provisioner_jobs as jobs on jobs.id = builds.job_id
  ${NAMES}
  where builds.build_number = 1 and builds.transition = 'start' and builds.initiator_id <> '${PREBUILDS_USER}'`;

const AGENTS = `
  select ${of("agents", AGENT_COLUMNS).join(", ")},
    organizations.name, templates.name, presets.name, users.username, workspaces.name
  from public.workspace_agents as agents
  join public.workspace_resources as resources on resources.id = agents.resource_id
  join public.provisioner_jobs as jobs on jobs.id = resources.job_id and jobs.type = 'workspace_build'
  left join public.workspace_builds as builds on builds.job_id = jobs.id
  ${NAMES}
  left join public.users on users.id = workspaces.owner_id`;

/** Every first build, in groups as they arrive. */
export async function* readBuilds(
  session: Session,
  onUnknown: OnUnknown,
): AsyncGenerator<BuildRecord[]> {
  const jobsAt = BUILD_COLUMNS.length;
  const errorAt = jobsAt + JOB_COLUMNS.length;
  for await (const rows of copyRows(session, BUILDS)) {
    yield rows.map((row) => {
      const build = buildRow(cellsOf(row, BUILD_COLUMNS, 0), onUnknown);
      const jobCells = cellsOf(row, JOB_COLUMNS, jobsAt);
      const job = jobRow(
        (column) => (column === "error" ? (row[errorAt] ?? null) : jobCells(column)),
        onUnknown,
      );
      const [organization = null, template = null, preset = null] = row.slice(errorAt + 1);
      return { build, job, place: { build: build.id, organization, template, preset } };
    });
  }
}

/** Every agent of every workspace build, in groups as they arrive. */
export async function* readAgents(session: Session): AsyncGenerator<AgentRecord[]> {
  for await (const rows of copyRows(session, AGENTS)) {
    yield rows.map((row) => {
      const agent = agentRow(cellsOf(row, AGENT_COLUMNS, 0), true);
      const [
        organization = null,
        template = null,
        preset = null,
        username = null,
        workspace = null,
      ] = row.slice(AGENT_COLUMNS.length);
      const names = { organization, template, preset, username, workspace };
      return { agent, place: { resource: agent.resource, jobType: "workspace_build", ...names } };
    });
  }
}

function cellsOf(
  row: readonly (string | null)[],
  columns: readonly string[],
  start: number,
): Cells {
  return (column) => {
    const index = columns.indexOf(column);
    if (index < 0) throw new TypeError(`column ${column} was not read`);
    return row[start + index] ?? null;
  };
}
