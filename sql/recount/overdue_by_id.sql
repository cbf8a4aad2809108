-- The agents that had not connected when their time was up, by id, to compare with the ledger: when it was up, in microseconds since
-- the Unix epoch, how long they had, and whether they connected later. At `firstlight.moment`, else now: those whose time is up by then.
select
  a.id as agent_id,
  (extract(epoch from a.created_at) * 1000000)::bigint + a.connection_timeout_seconds * 1000000::bigint as deadline,
  a.connection_timeout_seconds * 1000000::bigint as took,
  a.first_connected_at is not null as connected
from public.workspace_agents as a
join public.workspace_resources as r on r.id = a.resource_id
join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
join public.workspace_builds as b on b.job_id = j.id and b.transition = 'start'
where a.connection_timeout_seconds > 0
  and coalesce(a.first_connected_at, nullif(current_setting('firstlight.moment', true), '')::timestamptz, now())
    > a.created_at + a.connection_timeout_seconds * interval '1 second'
order by 1;
