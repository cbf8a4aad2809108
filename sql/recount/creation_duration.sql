-- Recount of coderd_workspace_creation_duration_seconds: how long provisioners had the jobs that made workspaces, in
-- microseconds; le_N counts those of at most N seconds. Told apart by the stage that Coder writes into the job (1: create a
-- prebuild). Negative durations are dropped (dropped_negative.sql).
select
  coalesce(o.name, '') as organization_name,
  coalesce(t.name, '') as template_name,
  coalesce(p.name, '') as preset_name,
  case d.stage when 1 then 'prebuild' else 'regular' end as type,
  count(*) as count,
  sum(d.took)::bigint as sum,
  count(*) filter (where d.took <= 1000000) as le_1,
  count(*) filter (where d.took <= 10000000) as le_10,
  count(*) filter (where d.took <= 30000000) as le_30,
  count(*) filter (where d.took <= 60000000) as le_60,
  count(*) filter (where d.took <= 300000000) as le_300,
  count(*) filter (where d.took <= 600000000) as le_600,
  count(*) filter (where d.took <= 1800000000) as le_1800,
  count(*) filter (where d.took <= 3600000000) as le_3600
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
left join public.workspaces as w on w.id = b.workspace_id
left join public.organizations as o on o.id = w.organization_id
left join public.templates as t on t.id = w.template_id
left join public.template_version_presets as p on p.id = b.template_version_preset_id
cross join lateral (
  select (extract(epoch from j.completed_at - j.started_at) * 1000000)::bigint as took,
    coalesce((j.input ->> 'prebuilt_workspace_stage')::int, 0) as stage
) as d
where b.transition = 'start'
  and j.completed_at is not null
  and coalesce(j.error, '') = ''
  and j.canceled_at is null
  and j.worker_id is not null
  and (d.stage = 1 or (d.stage = 0 and b.build_number = 1))
  and d.took >= 0
group by 1, 2, 3, 4
order by 1, 2, 3, 4;
