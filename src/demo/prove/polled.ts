// What Coder itself says, and what is true: the query that coderd's collector polls, and a recount that leaves nobody out.

import { readFileSync } from "node:fs";
import pg from "pg";

/** Value of each template's series of coderd_workspace_creation_total. */
export type ByTemplate = ReadonlyMap<string, number>;

/**
 * Upstream's GetRegularWorkspaceCreateMetrics (coderd/database/queries/workspaces.sql) in our words: of each workspace its earliest start
 * that succeeded, whoever made it; those of the prebuilds user and of deleted templates do not count. Each replica runs it every
 * minute, over all builds and jobs there are.
 */
const POLLED = `
  select template.name as template, count(*)::int as value
  from (
    select distinct on (build.workspace_id) build.workspace_id, build.initiator_id
    from workspace_builds as build
    join provisioner_jobs as job on job.id = build.job_id
    where build.transition = 'start' and job.job_status = 'succeeded'
    order by build.workspace_id, build.build_number
  ) as created
  join workspaces as workspace on workspace.id = created.workspace_id
  join templates as template on template.id = workspace.template_id and not template.deleted
  where created.initiator_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0'
  group by 1`;

const RECOUNT = readFileSync(
  new URL("../../../sql/recount/created.sql", import.meta.url),
  "utf8",
).replace(/;\s*$/, "");

export async function polled(url: string): Promise<ByTemplate> {
  return ask(url, POLLED);
}

export async function recounted(url: string): Promise<ByTemplate> {
  return ask(
    url,
    `select template_name as template, sum(value)::int as value from (${RECOUNT}) as recount group by 1`,
  );
}

async function ask(url: string, sql: string): Promise<ByTemplate> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const { rows } = await client.query<{ template: string; value: number }>(sql);
    return new Map(rows.map(({ template, value }) => [template, value]));
  } finally {
    await client.end();
  }
}

export function sum(series: ByTemplate): number {
  return [...series.values()].reduce((total, value) => total + value, 0);
}
