-- Recount of coderd_workspace_creation_failures_total: where the failed first builds failed, and why.
-- Without a worker no provisioner ever took the job. Coder's own code wins over the sign that somebody canceled.
select
  coalesce(o.name, '') as organization_name,
  coalesce(t.name, '') as template_name,
  coalesce(p.name, '') as preset_name,
  case when j.worker_id is null then 'queue' else 'provisioner' end as stage,
  case
    when j.error_code <> '' then j.error_code
    when j.canceled_at is not null then 'user_canceled'
    else 'other'
  end as error_code,
  count(*) as value
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
left join public.workspaces as w on w.id = b.workspace_id
left join public.organizations as o on o.id = w.organization_id
left join public.templates as t on t.id = w.template_id
left join public.template_version_presets as p on p.id = b.template_version_preset_id
where b.build_number = 1
  and b.transition = 'start'
  and b.initiator_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0' -- the system user that makes prebuilds
  and j.completed_at is not null
  and j.error <> ''
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5;
