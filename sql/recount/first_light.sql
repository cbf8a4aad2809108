-- Recount of firstlight_time_to_first_light_seconds: how long builds that start a workspace took until each of their agents
-- first connected, in microseconds and in phases; le_N counts those of at most N seconds. Sub-agents, and builds that no
-- provisioner had, do not count. Told apart by who made the build, and by the stage that Coder writes into the job (2: claim).
-- Where one phase is negative, none counts (dropped_negative.sql); where the first three are not, their sum is not either.
select
  coalesce(o.name, '') as organization_name,
  coalesce(t.name, '') as template_name,
  case
    when b.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0' then 'prebuild' -- the system user that makes them
    when j.input ->> 'prebuilt_workspace_stage' = '2' then 'claim'
    else 'regular'
  end as type,
  p.phase,
  count(*) as count,
  sum(d.took)::bigint as sum,
  count(*) filter (where d.took <= 1000000) as le_1,
  count(*) filter (where d.took <= 5000000) as le_5,
  count(*) filter (where d.took <= 10000000) as le_10,
  count(*) filter (where d.took <= 30000000) as le_30,
  count(*) filter (where d.took <= 60000000) as le_60,
  count(*) filter (where d.took <= 120000000) as le_120,
  count(*) filter (where d.took <= 300000000) as le_300,
  count(*) filter (where d.took <= 600000000) as le_600,
  count(*) filter (where d.took <= 1800000000) as le_1800,
  count(*) filter (where d.took <= 3600000000) as le_3600
from public.workspace_agents as a
join public.workspace_resources as r on r.id = a.resource_id
join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
join public.workspace_builds as b on b.job_id = j.id
left join public.workspaces as w on w.id = b.workspace_id
left join public.organizations as o on o.id = w.organization_id
left join public.templates as t on t.id = w.template_id
cross join lateral (
  values
    ('queue', b.created_at, j.started_at),
    ('provision', j.started_at, j.completed_at),
    ('connect', j.completed_at, a.first_connected_at),
    ('total', b.created_at, a.first_connected_at)
) as p (phase, begun, ended)
cross join lateral (select (extract(epoch from p.ended - p.begun) * 1000000)::bigint as took) as d
where b.transition = 'start'
  and a.parent_id is null
  and j.worker_id is not null
  and b.created_at <= j.started_at
  and j.started_at <= j.completed_at
  and j.completed_at <= a.first_connected_at
group by 1, 2, 3, 4
order by 1, 2, 3, 4;
