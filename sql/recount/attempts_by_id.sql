-- Every build by id, to compare with the ledger's attempts. Times in microseconds since the Unix epoch.
select
  b.id as build_id,
  (extract(epoch from b.created_at) * 1000000)::bigint as created_at,
  b.transition::text as transition,
  b.reason::text as reason,
  j.provisioner::text as provisioner,
  b.build_number = 1 as initial,
  b.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0' as prebuild, -- the system user that makes prebuilds
  coalesce(j.input ->> 'prebuilt_workspace_stage', '') = '2' as claim
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
order by 1;
