-- The jobs of all types that a worker has, or had, by id, to compare with the ledger. Times in microseconds since the Unix epoch. The
-- end is NULL while a job runs; of builds it is in outcomes_by_id.sql, too.
select
  j.id as job_id,
  case when b.id is null then j.type::text else 'workspace_build' end as type,
  j.provisioner::text as provisioner,
  (extract(epoch from j.started_at) * 1000000)::bigint as started_at,
  (extract(epoch from j.started_at - j.created_at) * 1000000)::bigint as waited,
  (extract(epoch from j.completed_at) * 1000000)::bigint as completed_at,
  (extract(epoch from j.completed_at - j.started_at) * 1000000)::bigint as took,
  case
    when j.completed_at is null then null
    when j.error <> '' then 'failure'
    when j.canceled_at is not null then 'canceled'
    else 'success'
  end as status
from public.provisioner_jobs as j
left join public.workspace_builds as b on b.job_id = j.id
where j.worker_id is not null
  and j.started_at is not null
  and (b.id is not null or j.type <> 'workspace_build')
order by 1;
