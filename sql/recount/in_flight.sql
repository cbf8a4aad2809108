-- Recount of coderd_workspace_creations_in_flight: the first builds whose job has not ended.
-- A job that is being canceled is still in flight.
select
  coalesce(o.name, '') as organization_name,
  coalesce(t.name, '') as template_name,
  coalesce(p.name, '') as preset_name,
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
  and j.completed_at is null
group by 1, 2, 3
order by 1, 2, 3;
