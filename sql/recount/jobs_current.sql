-- Recount of coderd_provisionerd_jobs_current: the jobs, of all types, that a worker has and that have not ended.
-- A job that is being canceled still runs.
select
  j.provisioner::text as provisioner,
  count(*) as value
from public.provisioner_jobs as j
where j.worker_id is not null
  and j.started_at is not null
  and j.completed_at is null
group by 1
order by 1;
