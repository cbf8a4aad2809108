-- The first connections by agent id, to compare with the ledger: when, in microseconds since the Unix epoch, and how long
-- after the agent's creation. A negative `took` is a dropped sample. And of which workspace it is.
select
  a.id as agent_id,
  (extract(epoch from a.first_connected_at) * 1000000)::bigint as first_connected_at,
  (extract(epoch from a.first_connected_at - a.created_at) * 1000000)::bigint as took,
  b.workspace_id
from public.workspace_agents as a
join public.workspace_resources as r on r.id = a.resource_id
join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
left join public.workspace_builds as b on b.job_id = j.id
where a.first_connected_at is not null
order by 1;
