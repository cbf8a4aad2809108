-- Recount of coderd_provisioner_job_queue_wait_seconds: how long jobs of all types waited for a worker, in microseconds; le_N counts
-- those of at most N seconds. No wait is less than a millisecond. What builds by one user is called prebuild. The reaper, and
-- deletes without a provisioner, set started_at but no worker. A job with a build builds a workspace.
select
  j.provisioner::text as provisioner_type,
  case when b.id is null then j.type::text else 'workspace_build' end as job_type,
  coalesce(b.transition::text, '') as transition,
  case
    when b.id is null then ''
    when b.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0' then 'prebuild'
    else b.reason::text
  end as build_reason,
  count(*) as count,
  sum(d.wait)::bigint as sum,
  count(*) filter (where d.wait <= 100000) as "le_0.1",
  count(*) filter (where d.wait <= 500000) as "le_0.5",
  count(*) filter (where d.wait <= 1000000) as le_1,
  count(*) filter (where d.wait <= 5000000) as le_5,
  count(*) filter (where d.wait <= 10000000) as le_10,
  count(*) filter (where d.wait <= 30000000) as le_30,
  count(*) filter (where d.wait <= 60000000) as le_60,
  count(*) filter (where d.wait <= 120000000) as le_120,
  count(*) filter (where d.wait <= 300000000) as le_300,
  count(*) filter (where d.wait <= 600000000) as le_600,
  count(*) filter (where d.wait <= 900000000) as le_900,
  count(*) filter (where d.wait <= 1800000000) as le_1800
from public.provisioner_jobs as j
left join public.workspace_builds as b on b.job_id = j.id
cross join lateral (
  select greatest((extract(epoch from j.started_at - j.created_at) * 1000000)::bigint, 1000) as wait
) as d
where j.worker_id is not null
  and j.started_at is not null
  and (b.id is not null or j.type <> 'workspace_build')
group by 1, 2, 3, 4
order by 1, 2, 3, 4;
