-- The deployment of test/scale/ ends with every workspace stopped. Here those that are not deleted run: their last build becomes a
-- start, with a pod and a connected agent, the newest ones there are. Prebuilds have a preset; one in ten of them nobody
-- has claimed yet.
-- Agents that beat lie on pages with room, as they do on a server in use: their updates are heap-only from the first one on.
-- To be run with session_replication_role = replica.

create temporary table running as
select workspace.id as workspace, build.id as build, build.job_id as job,
  '2026-06-01'::timestamptz + row_number() over (order by build.created_at) * interval '1 millisecond' as at
from workspaces as workspace
join workspace_builds as build on build.workspace_id = workspace.id and build.build_number = 10
where not workspace.deleted;

update workspace_builds set transition = 'start' where id in (select build from running);
update workspaces set owner_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0'
where id in (select workspace from running)
  and substr(name, length('workspace-') + 1)::bigint % 200 = 0;

update workspace_builds as build set template_version_preset_id = preset.id
from (select distinct on (template_version_id) id, template_version_id from template_version_presets) as preset
where build.build_number = 1 and build.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0'
  and preset.template_version_id = build.template_version_id;

insert into workspace_resources (id, created_at, job_id, transition, type, name, icon, daily_cost)
select md5('running pod ' || job)::uuid, at, job, 'start', 'kubernetes_pod', 'pod', '/icon/memory.svg', 0
from running;

alter table workspace_agents set (fillfactor = 50);
insert into workspace_agents (id, created_at, updated_at, name, first_connected_at, last_connected_at, resource_id, auth_token,
  architecture, environment_variables, operating_system, directory, version, last_connected_replica_id, connection_timeout_seconds,
  lifecycle_state, expanded_directory, logs_length, started_at, ready_at, subsystems, api_version)
select md5('running agent ' || job)::uuid, at, at, 'main', at + interval '21.5 seconds', at + interval '21.5 seconds',
  md5('running pod ' || job)::uuid, md5('running token ' || job)::uuid, 'amd64',
  jsonb_build_object('GIT_AUTHOR_NAME', 'Some User', 'GIT_AUTHOR_EMAIL', 'some-user@example.com',
    'GIT_COMMITTER_NAME', 'Some User', 'GIT_COMMITTER_EMAIL', 'some-user@example.com'),
  'linux', '/home/coder', 'v2.36.0+4b8a8e6', md5('replica 1')::uuid, 120, 'ready', '/home/coder', 18000,
  at + interval '22 seconds', at + interval '34 seconds', '{envbuilder}', '2.9'
from running
order by at;
