-- Recount of coderd_agents_up: agents that are not deleted, of the latest builds of workspaces that are not deleted, whether
-- they are connected or not. Sub-agents count.
select
  coalesce(u.username, '') as username,
  coalesce(w.name, '') as workspace_name,
  coalesce(t.name, '') as template_name,
  coalesce(v.name, '') as template_version,
  count(*) as value
from (
  select distinct on (b.workspace_id) b.*
  from public.workspace_builds as b
  order by b.workspace_id, b.build_number desc
) as b
join public.workspaces as w on w.id = b.workspace_id and not w.deleted
join public.workspace_resources as r on r.job_id = b.job_id
join public.workspace_agents as a on a.resource_id = r.id and not a.deleted
left join public.users as u on u.id = w.owner_id
left join public.templates as t on t.id = w.template_id
left join public.template_versions as v on v.id = b.template_version_id
group by 1, 2, 3, 4
order by 1, 2, 3, 4;
