-- Recount of the durations that are negative (two clocks that disagree): counted as dropped, never observed. First
-- connections before the agent's creation, and jobs of all types that a provisioner ended before it began. Always one row.
select (
  select count(*)
  from public.workspace_agents as a
  join public.workspace_resources as r on r.id = a.resource_id
  join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
  where a.first_connected_at < a.created_at
) + (
  select count(*)
  from public.provisioner_jobs as j
  left join public.workspace_builds as b on b.job_id = j.id
  where j.completed_at < j.started_at and j.worker_id is not null
    and (b.id is not null or j.type <> 'workspace_build')
) as value;
