-- Recount of coderd_provisionerd_workspace_build_timings_seconds: how long provisioners had workspace builds, in microseconds;
-- le_N counts those of at most N seconds. Negative durations are dropped (dropped_negative.sql).
select
  coalesce(t.name, '') as template_name,
  coalesce(v.name, '') as template_version,
  case b.transition when 'delete' then 'DESTROY' else upper(b.transition::text) end as workspace_transition,
  case when j.error <> '' then 'failed' else 'success' end as status,
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
left join public.templates as t on t.id = w.template_id
left join public.template_versions as v on v.id = b.template_version_id
cross join lateral (
  select (extract(epoch from j.completed_at - j.started_at) * 1000000)::bigint as took
) as d
where j.worker_id is not null
  and d.took >= 0
group by 1, 2, 3, 4
order by 1, 2, 3, 4;
