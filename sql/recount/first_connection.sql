-- Recount of coderd_agents_first_connection_seconds: how long each agent took from its creation to its first connection,
-- in microseconds; le_N counts those of at most N seconds. Deleted agents and sub-agents count; agents of template
-- imports and dry runs, and negative durations (dropped_negative.sql), do not.
select
  coalesce(t.name, '') as template_name,
  a.name as agent_name,
  coalesce(u.username, '') as username,
  coalesce(w.name, '') as workspace_name,
  count(*) as count,
  sum(d.took)::bigint as sum,
  count(*) filter (where d.took <= 1000000) as le_1,
  count(*) filter (where d.took <= 10000000) as le_10,
  count(*) filter (where d.took <= 30000000) as le_30,
  count(*) filter (where d.took <= 60000000) as le_60,
  count(*) filter (where d.took <= 120000000) as le_120,
  count(*) filter (where d.took <= 300000000) as le_300,
  count(*) filter (where d.took <= 600000000) as le_600,
  count(*) filter (where d.took <= 1800000000) as le_1800,
  count(*) filter (where d.took <= 3600000000) as le_3600
from public.workspace_agents as a
join public.workspace_resources as r on r.id = a.resource_id
join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
cross join lateral (select (extract(epoch from a.first_connected_at - a.created_at) * 1000000)::bigint as took) as d
left join public.workspace_builds as b on b.job_id = j.id
left join public.workspaces as w on w.id = b.workspace_id
left join public.templates as t on t.id = w.template_id
left join public.users as u on u.id = w.owner_id
where d.took >= 0
group by 1, 2, 3, 4
order by 1, 2, 3, 4;
