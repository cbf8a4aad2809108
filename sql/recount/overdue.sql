-- Recount of firstlight_agents_connection_timeouts_total: agents of starts that had not connected when their time was up, later or never.
-- Deleted agents and sub-agents count, those of stopped and deleted workspaces too. At `firstlight.moment`, else now: those whose time
-- is up by then.
select
  coalesce(o.name, '') as organization_name,
  coalesce(t.name, '') as template_name,
  a.name as agent_name,
  count(*) as value
from public.workspace_agents as a
join public.workspace_resources as r on r.id = a.resource_id
join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
join public.workspace_builds as b on b.job_id = j.id and b.transition = 'start'
left join public.workspaces as w on w.id = b.workspace_id
left join public.templates as t on t.id = w.template_id
left join public.organizations as o on o.id = w.organization_id
where a.connection_timeout_seconds > 0
  and coalesce(a.first_connected_at, nullif(current_setting('firstlight.moment', true), '')::timestamptz, now())
    > a.created_at + a.connection_timeout_seconds * interval '1 second'
group by 1, 2, 3
order by 1, 2, 3;
