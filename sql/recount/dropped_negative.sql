-- Recount of what has a duration that is negative (clocks that disagree): counted as dropped, once each, never observed. Agents
-- that first connected before their creation, or in whose time to first light a phase is negative (first_light.sql); and jobs of
-- all types that a provisioner ended before it began; and starts that were over before their build was created. Always one row.
select (
  select count(*)
  from public.workspace_agents as a
  join public.workspace_resources as r on r.id = a.resource_id
  join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
  left join public.workspace_builds as b on b.job_id = j.id
    and b.transition = 'start' and a.parent_id is null and j.worker_id is not null
  where a.first_connected_at is not null and (
    a.first_connected_at < a.created_at
    or j.started_at < b.created_at
    or (b.id is not null and j.completed_at < j.started_at)
    or (b.id is not null and a.first_connected_at < j.completed_at)
  )
) + (
  select count(*)
  from public.provisioner_jobs as j
  left join public.workspace_builds as b on b.job_id = j.id
  where j.completed_at < j.started_at and j.worker_id is not null
    and (b.id is not null or j.type <> 'workspace_build')
) + (
  select count(*)
  from (
    select b.created_at, max(a.ready_at) as ready_at
    from public.workspace_agents as a
    join public.workspace_resources as r on r.id = a.resource_id
    join public.provisioner_jobs as j on j.id = r.job_id
    join public.workspace_builds as b on b.job_id = j.id
    where a.parent_id is null and b.transition = 'start'
    group by b.id
    having bool_and(
      a.ready_at is not null and a.lifecycle_state::text in (
        'ready', 'start_timeout', 'start_error', 'shutting_down', 'shutdown_timeout', 'shutdown_error', 'off'
      )
    )
  ) as s
  where s.ready_at < s.created_at
) as value;
