-- Recount of coderd_template_workspace_build_duration_seconds: from the creation of builds that start a workspace until all their
-- agents (without sub-agents, deleted ones too) were over with their start, in microseconds; le_N counts those of at most N seconds.
-- As Coder's own query has it, the worst of how they ended counts, and what an agent that has shut down since no longer tells was
-- well. Negative ones count as dropped (dropped_negative.sql).
select
  coalesce(t.name, '') as template_name,
  coalesce(o.name, '') as organization_name,
  s.transition,
  s.status,
  s.is_prebuild,
  count(*) as count,
  sum(s.took)::bigint as sum,
  count(*) filter (where s.took <= 1000000) as le_1,
  count(*) filter (where s.took <= 10000000) as le_10,
  count(*) filter (where s.took <= 30000000) as le_30,
  count(*) filter (where s.took <= 60000000) as le_60,
  count(*) filter (where s.took <= 300000000) as le_300,
  count(*) filter (where s.took <= 600000000) as le_600,
  count(*) filter (where s.took <= 1800000000) as le_1800,
  count(*) filter (where s.took <= 3600000000) as le_3600
from (
  select
    b.workspace_id,
    b.transition::text as transition,
    (b.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0')::text as is_prebuild, -- the system user that makes them
    case
      when bool_or(a.lifecycle_state = 'start_error') then 'error'
      when bool_or(a.lifecycle_state = 'start_timeout') then 'timeout'
      else 'success'
    end as status,
    (extract(epoch from max(a.ready_at) - b.created_at) * 1000000)::bigint as took
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
left join public.workspaces as w on w.id = s.workspace_id
left join public.organizations as o on o.id = w.organization_id
left join public.templates as t on t.id = w.template_id
where s.took >= 0
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5;
