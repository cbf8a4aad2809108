-- A deployment with years of history, made inside the server: rows as wide as Coder's, keys that are md5 of what they name
-- (as random as uuids are, and no query is needed to find one again). Sizes: the setting `scale.workspaces`; ten builds
-- and five agents for each. Rows lie in the order of their time, workspaces interleaved, as years of use leave them.
-- To be run with session_replication_role = replica: no trigger, no foreign key check.

create function pg_temp.id(what text, n bigint) returns uuid
  language sql immutable parallel safe return md5(what || ' ' || n)::uuid;

create temporary table size as
select w as workspaces, greatest(w / 20, 10) as users, 5 as organizations, 40 as templates
from (select current_setting('scale.workspaces')::bigint as w) as given;

insert into organizations (id, name, description, created_at, updated_at, display_name)
select pg_temp.id('organization', n), 'organization-' || n, '', '2024-01-01', '2024-01-01', 'Organization ' || n
from size, generate_series(1, organizations) as n;

insert into users (id, email, username, hashed_password, created_at, updated_at, status, is_system)
select pg_temp.id('user', n), 'user-' || n || '@example.com', 'user-' || n, '\x00', '2024-01-01', '2024-01-01', 'active', false
from size, generate_series(1, users) as n;
insert into users (id, email, username, hashed_password, created_at, updated_at, status, is_system)
values ('c42fdf75-3097-471c-8c33-fb52454d81c0', 'prebuilds@system', 'prebuilds', '\x', '2024-01-01', '2024-01-01', 'active', true);

insert into templates (id, created_at, updated_at, organization_id, name, provisioner, active_version_id, created_by)
select pg_temp.id('template', n), '2024-01-01', '2024-01-01', pg_temp.id('organization', 1 + n % organizations),
  'template-' || n, 'terraform', pg_temp.id('version', n * 3), pg_temp.id('user', 1)
from size, generate_series(1, templates) as n;

-- Three versions a template, the last one active; two presets a version.
insert into template_versions (id, template_id, organization_id, created_at, updated_at, name, readme, job_id, created_by)
select pg_temp.id('version', n), pg_temp.id('template', (n + 2) / 3), pg_temp.id('organization', 1 + (n + 2) / 3 % organizations),
  '2024-01-01', '2024-01-01', 'version-' || n, repeat('readme ', 100), pg_temp.id('import', n), pg_temp.id('user', 1)
from size, generate_series(1, templates * 3) as n;

insert into template_version_presets (id, template_version_id, name, created_at)
select pg_temp.id('preset', n), pg_temp.id('version', (n + 1) / 2), case n % 2 when 0 then 'small' else 'GPU "large"' end, '2024-01-01'
from size, generate_series(1, templates * 6) as n;

-- Some templates are used far more than others.
create temporary table place as
select w, 1 + floor(templates * power(w * 0.6180339887 % 1, 2))::int as template, 1 + w % users as owner,
  '2024-02-01'::timestamptz + w * (interval '700 days' / workspaces) as created_at,
  w % 20 = 0 as prebuilt, w % 33 = 0 as deleted
from size, generate_series(1, workspaces) as w;

insert into workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, deleted, name, autostart_schedule,
  ttl, last_used_at)
select pg_temp.id('workspace', w), created_at, created_at, pg_temp.id('user', owner),
  pg_temp.id('organization', 1 + template % organizations), pg_temp.id('template', template), deleted, 'workspace-' || w,
  'CRON_TZ=Europe/Berlin 30 9 * * 1-5', 28800000000000, created_at
from place, size;

-- Builds in turn: start, stop, start … The first ones end in every way there is; of the others one in a thousand fails.
create temporary table build as
select w * 10 + k as n, w, k, template, owner, prebuilt, created_at + k * interval '37 hours 11 minutes 0.654321 seconds' as at,
  case when k % 2 = 1 then 'start' when deleted and k = 10 then 'delete' else 'stop' end::workspace_transition as transition,
  case
    when k > 1 then case when (w + k) % 1000 = 0 then 'failed' else 'succeeded' end
    when w % 100 in (1, 2) then 'failed'
    when w % 100 = 3 then 'failed with a code'
    when w % 100 = 4 then 'failed in the queue'
    when w % 100 = 5 then 'canceled'
    when w % 100 = 6 then 'canceled while it ran'
    when w % 500 = 7 then 'pending'
    when w % 500 = 8 then 'running'
    else 'succeeded'
  end as outcome,
  interval '40 seconds' + (w * 7919 % 300) * interval '0.737 seconds' as took
from place, generate_series(1, 10) as k
order by at;

insert into provisioner_jobs (id, created_at, updated_at, started_at, canceled_at, completed_at, error, organization_id,
  initiator_id, provisioner, storage_method, type, input, worker_id, file_id, error_code, trace_metadata, logs_length)
select pg_temp.id('job', n), at, at + took,
  case when outcome not in ('pending', 'failed in the queue', 'canceled') then at + interval '3 seconds' end,
  case when outcome like 'canceled%' then at + interval '20 seconds' end,
  case when outcome not in ('pending', 'running') then at + took end,
  case when outcome like 'failed%' then repeat('terraform apply: exit status 1; ', 8) when outcome = 'canceled while it ran' then 'canceled' end,
  pg_temp.id('organization', 1 + template % organizations), pg_temp.id('user', owner), 'terraform', 'file', 'workspace_build',
  -- A prebuilt workspace is claimed by its second start.
  jsonb_build_object('workspace_build_id', pg_temp.id('build', n)) || case
    when prebuilt and k = 1 then '{"prebuilt_workspace_stage": 1}'
    when prebuilt and k = 3 then '{"prebuilt_workspace_stage": 2}'
    else '{}' end::jsonb,
  case when outcome not in ('pending', 'failed in the queue', 'canceled') then pg_temp.id('worker', w % 10) end,
  pg_temp.id('file', template), case when outcome = 'failed with a code' then 'REQUIRED_TEMPLATE_VARIABLES' end,
  jsonb_build_object('traceparent', '00-' || md5('trace ' || n) || '-00f067aa0ba902b7-01'), 41000
from build, size
order by at;

insert into provisioner_jobs (id, created_at, updated_at, started_at, completed_at, organization_id, initiator_id, provisioner,
  storage_method, type, input, worker_id, file_id)
select job_id, created_at, created_at, created_at, created_at, organization_id, created_by, 'terraform', 'file',
  'template_version_import', jsonb_build_object('template_version_id', id), pg_temp.id('worker', 1), pg_temp.id('file', 1)
from template_versions;

-- provisioner_state lies out of line in Coder's tables: here it is as wide as the pointer that is left in the row.
insert into workspace_builds (id, created_at, updated_at, workspace_id, template_version_id, build_number, transition,
  initiator_id, provisioner_state, job_id, reason, template_version_preset_id)
select pg_temp.id('build', n), at, at + took, pg_temp.id('workspace', w), pg_temp.id('version', template * 3 - w % 3), k, transition,
  case when prebuilt and k = 1 then 'c42fdf75-3097-471c-8c33-fb52454d81c0' else pg_temp.id('user', owner) end,
  decode(md5('state ' || n), 'hex'), pg_temp.id('job', n), case when k % 4 = 3 then 'autostart' else 'initiator' end::build_reason,
  case when w % 4 > 0 then pg_temp.id('preset', (template * 3 - w % 3) * 2 - w % 2) end
from build
order by at;

-- A volume in every build, a pod with its agent in every start.
insert into workspace_resources (id, created_at, job_id, transition, type, name, icon, daily_cost)
select pg_temp.id(kind, n), at + took, pg_temp.id('job', n), transition,
  case kind when 'pod' then 'kubernetes_pod' else 'kubernetes_persistent_volume_claim' end, kind, '/icon/memory.svg', 0
from build, unnest(array['volume', 'pod']) as kind
where kind = 'volume' or transition = 'start'
order by at;

-- One agent each start; where the first build made none, the next start has two. 4 % never connect, a few have clocks
-- that disagree.
create temporary table agent as
select n, w, case when outcome = 'succeeded' or k > 1 then 'main' else 'second' end as name,
  case when outcome = 'succeeded' or k > 1 then n else n + 2 end as build, at + took as created_at,
  case
    when (n * 7919) % 25 = 0 then null
    when (n * 7919) % 999 = 1 then interval '-1.5 seconds'
    else (4 + 900 * power(n * 0.6180339887 % 1, 6)) * interval '1 second'
  end as waited
from build
where transition = 'start'
order by at;

insert into workspace_agents (id, created_at, updated_at, name, first_connected_at, last_connected_at, disconnected_at,
  resource_id, auth_token, architecture, environment_variables, operating_system, directory, version,
  last_connected_replica_id, connection_timeout_seconds, lifecycle_state, expanded_directory, logs_length, started_at, ready_at,
  subsystems, api_version)
select pg_temp.id('agent', n), created_at, created_at, name, created_at + waited, created_at + interval '9 hours',
  created_at + interval '9 hours', pg_temp.id('pod', build), pg_temp.id('token', n), 'amd64',
  jsonb_build_object('GIT_AUTHOR_NAME', 'User ' || w, 'GIT_AUTHOR_EMAIL', 'user-' || w || '@example.com',
    'GIT_COMMITTER_NAME', 'User ' || w, 'GIT_COMMITTER_EMAIL', 'user-' || w || '@example.com'),
  'linux', '/home/coder', 'v2.36.0+4b8a8e6', pg_temp.id('replica', n % 3), 120, 'off', '/home/coder', 18000,
  created_at + waited, created_at + waited + interval '12 seconds', '{envbuilder}', '2.9'
from agent
order by created_at;

-- Agents of template imports, which nobody counts.
insert into workspace_resources (id, created_at, job_id, transition, type, name)
select pg_temp.id('imported', n), '2024-01-01', pg_temp.id('import', n), 'start', 'kubernetes_pod', 'pod'
from size, generate_series(1, templates * 3) as n;
insert into workspace_agents (id, created_at, updated_at, name, resource_id, auth_token, architecture, operating_system)
select pg_temp.id('imported agent', n), '2024-01-01', '2024-01-01', 'main', pg_temp.id('imported', n), pg_temp.id('token', -n), 'amd64', 'linux'
from size, generate_series(1, templates * 3) as n;
