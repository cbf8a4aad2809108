-- The deletes of each workspace that were done, to compare with the ledger: it has the first of them that was seen, mostly the only one.
-- Times in microseconds since the Unix epoch.
select
  b.workspace_id,
  b.build_number as number,
  (extract(epoch from j.completed_at) * 1000000)::bigint as completed_at
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
where b.transition = 'delete'
  and j.completed_at is not null
  and coalesce(j.error, '') = ''
order by b.workspace_id, b.build_number;
