-- Recount of coderd_workspace_builds_enqueued_total: every build there is. What enqueues builds of prebuilds is one user.
select
  j.provisioner::text as provisioner_type,
  case when b.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0' then 'prebuild' else b.reason::text end as build_reason,
  b.transition::text as transition,
  'success' as status,
  count(*) as value
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
group by 1, 2, 3
order by 1, 2, 3;
