// Whether the rows behind a build, a job, an agent or a workspace are still there: each row with all that it hangs on, because SQL by hand
// may delete only a part of that.

import type { Uuid } from "../change/row.ts";
import type { Session } from "./session.ts";

const ROWS = {
  build: `
    select builds.id from public.workspace_builds as builds
    join public.provisioner_jobs as jobs on jobs.id = builds.job_id
    where builds.id = any ($1::uuid[])`,
  job: `
    select jobs.id from public.provisioner_jobs as jobs
    join public.workspace_builds as builds on builds.job_id = jobs.id
    where jobs.id = any ($1::uuid[])`,
  started: `
    select jobs.id from public.provisioner_jobs as jobs
    left join public.workspace_builds as builds on builds.job_id = jobs.id
    where jobs.id = any ($1::uuid[]) and (builds.id is not null or jobs.type <> 'workspace_build')`,
  ran: `
    select jobs.id from public.provisioner_jobs as jobs
    where jobs.id = any ($1::uuid[])`,
  ready: `
    select distinct builds.job_id as id from public.workspace_builds as builds
    join public.provisioner_jobs as jobs on jobs.id = builds.job_id
    join public.workspace_resources as resources on resources.job_id = builds.job_id
    join public.workspace_agents as agents on agents.resource_id = resources.id and agents.parent_id is null
    where builds.job_id = any ($1::uuid[])`,
  agent: `
    select agents.id from public.workspace_agents as agents
    join public.workspace_resources as resources on resources.id = agents.resource_id
    join public.provisioner_jobs as jobs on jobs.id = resources.job_id
    where agents.id = any ($1::uuid[])`,
  workspace: `
    select distinct workspaces.id from public.workspaces
    join public.workspace_builds as builds on builds.workspace_id = workspaces.id
    join public.provisioner_jobs as jobs on jobs.id = builds.job_id
    where workspaces.id = any ($1::uuid[])`,
} as const;

/** Those of these ids whose rows are there, whatever they say. */
export async function present(
  session: Session,
  what: keyof typeof ROWS,
  ids: readonly Uuid[],
): Promise<ReadonlySet<Uuid>> {
  if (ids.length === 0) return new Set();
  const rows = await session.query<{ id: Uuid }>(ROWS[what], [ids]);
  return new Set(rows.map(({ id }) => id));
}
