// Very many rows in a few statements, as a migration or a restore writes them.

import type pg from "pg";
import type { HandMade } from "../../support/hand-made.ts";

/** First builds with pending jobs in workspaces of their own, in one statement. */
export async function manyBuilds(client: pg.Client, made: HandMade, count: number): Promise<void> {
  await client.query(
    `with made as (
       select gen_random_uuid() as workspace, gen_random_uuid() as job, gen_random_uuid() as build
       from generate_series(1, ${count})
     ), workspaces_made as (
       insert into workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name)
       select workspace, now(), now(), '${made.alice}', '${made.organization}', '${made.template}', 'bulk-' || workspace
       from made
     ), jobs_made as (
       insert into provisioner_jobs (id, created_at, updated_at, organization_id, initiator_id, provisioner,
         storage_method, type, input, file_id)
       select job, now(), now(), '${made.organization}', '${made.alice}', 'terraform', 'file', 'workspace_build', '{}', build
       from made
     )
     insert into workspace_builds (id, created_at, updated_at, workspace_id, template_version_id, build_number,
       transition, initiator_id, job_id)
     select build, now(), now(), workspace, '${made.version}', 1, 'start', '${made.alice}', job from made`,
  );
}

/** An agent that has not connected for each build that has none. */
export async function manyAgents(client: pg.Client): Promise<void> {
  await client.query(
    `with made as (
       select gen_random_uuid() as resource, job_id as job from workspace_builds builds
       where not exists (select from workspace_resources r where r.job_id = builds.job_id)
     ), resources_made as (
       insert into workspace_resources (id, created_at, job_id, transition, type, name)
       select resource, now(), job, 'start', 'docker_container', 'workspace' from made
     )
     insert into workspace_agents (id, created_at, updated_at, name, resource_id, auth_token, architecture, operating_system)
     select gen_random_uuid(), now(), now(), 'main', resource, gen_random_uuid(), 'amd64', 'linux' from made`,
  );
}

/** Ends every job that runs or waits, with success. */
export async function endAllJobs(client: pg.Client): Promise<void> {
  await client.query(
    `update provisioner_jobs set started_at = now(), worker_id = gen_random_uuid(), completed_at = now()
     where completed_at is null`,
  );
}

/** Connects every agent that has not connected. */
export async function connectAllAgents(client: pg.Client): Promise<void> {
  await client.query(
    `update workspace_agents set first_connected_at = now(), last_connected_at = now()
     where first_connected_at is null`,
  );
}
