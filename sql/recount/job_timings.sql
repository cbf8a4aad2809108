-- Recount of coderd_provisionerd_job_timings_seconds: how long workers had jobs of all types, in microseconds; le_N counts those of at
-- most N seconds. Negative durations are dropped (dropped_negative.sql).
select
  j.provisioner::text as provisioner,
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
from public.provisioner_jobs as j
cross join lateral (
  select (extract(epoch from j.completed_at - j.started_at) * 1000000)::bigint as took
) as d
where j.worker_id is not null
  and d.took >= 0
  and (
    j.type <> 'workspace_build'
    or exists (select from public.workspace_builds as b where b.job_id = j.id)
  )
group by 1, 2
order by 1, 2;
