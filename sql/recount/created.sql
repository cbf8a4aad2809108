-- Recount of coderd_workspace_creation_total: workspaces by their lowest-numbered start that succeeded, unless the pool made
-- that. Deleted workspaces and templates count.
select
  coalesce(o.name, '') as organization_name,
  coalesce(t.name, '') as template_name,
  coalesce(p.name, '') as preset_name,
  count(*) as value
from (
  select distinct on (b.workspace_id) b.*
  from public.workspace_builds as b
  join public.provisioner_jobs as j on j.id = b.job_id
  where b.transition = 'start'
    and j.completed_at is not null
    and coalesce(j.error, '') = ''
    and j.canceled_at is null
  order by b.workspace_id, b.build_number
) as b
left join public.workspaces as w on w.id = b.workspace_id
left join public.organizations as o on o.id = w.organization_id
left join public.templates as t on t.id = w.template_id
left join public.template_version_presets as p on p.id = b.template_version_preset_id
where b.initiator_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0' -- the system user that makes prebuilds
group by 1, 2, 3
order by 1, 2, 3;
