-- Recount of the agents whose first connection lies before their creation (two clocks that disagree): counted as dropped,
-- never observed. Always one row.
select count(*) as value
from public.workspace_agents as a
join public.workspace_resources as r on r.id = a.resource_id
join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
where a.first_connected_at < a.created_at;
