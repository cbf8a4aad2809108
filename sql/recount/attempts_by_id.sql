-- The first builds by id, to compare with the ledger's attempts. Times in microseconds since the Unix epoch.
select
  b.id as build_id,
  (extract(epoch from b.created_at) * 1000000)::bigint as created_at
from public.workspace_builds as b
where b.build_number = 1
  and b.transition = 'start'
  and b.initiator_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0' -- the system user that makes prebuilds
order by 1;
