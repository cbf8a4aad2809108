-- The build that created each workspace, to compare with the ledger: its lowest-numbered start that succeeded, also of what the
-- pool made. Times in microseconds since the Unix epoch.
select distinct on (b.workspace_id)
  b.workspace_id,
  b.build_number as number,
  (extract(epoch from j.completed_at) * 1000000)::bigint as completed_at
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
where b.transition = 'start'
  and j.completed_at is not null
  and coalesce(j.error, '') = ''
  and j.canceled_at is null
order by b.workspace_id, b.build_number;
