-- The phases of the time to first light by agent id, to compare with the ledger, in microseconds. An agent of which one is
-- negative is a dropped sample.
select
  a.id as agent_id,
  case
    when b.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0' then 'prebuild' -- the system user that makes them
    when j.input ->> 'prebuilt_workspace_stage' = '2' then 'claim'
    else 'regular'
  end as type,
  (extract(epoch from j.started_at - b.created_at) * 1000000)::bigint as queue,
  (extract(epoch from j.completed_at - j.started_at) * 1000000)::bigint as provision,
  (extract(epoch from a.first_connected_at - j.completed_at) * 1000000)::bigint as connect,
  (extract(epoch from a.first_connected_at - b.created_at) * 1000000)::bigint as total
from public.workspace_agents as a
join public.workspace_resources as r on r.id = a.resource_id
join public.provisioner_jobs as j on j.id = r.job_id and j.type = 'workspace_build'
join public.workspace_builds as b on b.job_id = j.id
where b.transition = 'start'
  and a.parent_id is null
  and j.worker_id is not null
  and j.completed_at is not null
  and a.first_connected_at is not null
order by 1;
