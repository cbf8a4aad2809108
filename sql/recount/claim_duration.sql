-- Recount of coderd_prebuilt_workspace_claim_duration_seconds: how long provisioners had the jobs that claimed prebuilt
-- workspaces (stage 2), in microseconds; le_N counts those of at most N seconds.
select
  coalesce(o.name, '') as organization_name,
  coalesce(t.name, '') as template_name,
  coalesce(p.name, '') as preset_name,
  count(*) as count,
  sum(d.took)::bigint as sum,
  count(*) filter (where d.took <= 1000000) as le_1,
  count(*) filter (where d.took <= 5000000) as le_5,
  count(*) filter (where d.took <= 10000000) as le_10,
  count(*) filter (where d.took <= 20000000) as le_20,
  count(*) filter (where d.took <= 30000000) as le_30,
  count(*) filter (where d.took <= 60000000) as le_60,
  count(*) filter (where d.took <= 120000000) as le_120,
  count(*) filter (where d.took <= 180000000) as le_180,
  count(*) filter (where d.took <= 240000000) as le_240,
  count(*) filter (where d.took <= 300000000) as le_300
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
  and d.stage = 2
  and d.took >= 0
group by 1, 2, 3
order by 1, 2, 3;
