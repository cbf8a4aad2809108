-- The starts that are over, by the id of the build's job, to compare with the ledger: when the last agent was (in microseconds since the
-- Unix epoch), how long after the build's creation, and the worst of how they ended: NULL where an agent has shut down since, so that
-- its row no longer tells.
select
  b.job_id,
  (extract(epoch from max(a.ready_at)) * 1000000)::bigint as ready_at,
  (extract(epoch from max(a.ready_at) - b.created_at) * 1000000)::bigint as took,
  case
    when bool_or(a.lifecycle_state = 'start_error') then 'error'
    when bool_or(a.lifecycle_state in ('shutting_down', 'shutdown_timeout', 'shutdown_error', 'off')) then null
    when bool_or(a.lifecycle_state = 'start_timeout') then 'timeout'
    else 'success'
  end as status,
  b.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0' as is_prebuild
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
order by 1;
