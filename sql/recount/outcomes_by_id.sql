-- The ends of all builds by id, to compare with the ledger's outcomes. Times in microseconds since the Unix epoch.
-- Stage and error code are NULL where nothing failed, `took` where no provisioner had the job.
select
  j.id as job_id,
  b.id as build_id,
  case
    when j.error <> '' then 'failure'
    when j.canceled_at is not null then 'canceled'
    else 'success'
  end as status,
  case
    when coalesce(j.error, '') = '' then null
    when j.worker_id is null then 'queue'
    else 'provisioner'
  end as stage,
  case
    when coalesce(j.error, '') = '' then null
    when j.error_code <> '' then j.error_code
    when j.canceled_at is not null then 'user_canceled'
    else 'other'
  end as error_code,
  (extract(epoch from j.completed_at) * 1000000)::bigint as completed_at,
  case when j.worker_id is not null
    then (extract(epoch from j.completed_at - j.started_at) * 1000000)::bigint
  end as took
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
where j.completed_at is not null
order by 1;
