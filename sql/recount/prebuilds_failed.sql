-- Recount of coderd_prebuilt_workspaces_failed_total: those whose first build failed.
select
  coalesce(t.name, '') as template_name,
  coalesce(p.name, '') as preset_name,
  coalesce(o.name, '') as organization_name,
  count(*) as value
from public.workspace_builds as b
join public.provisioner_jobs as j on j.id = b.job_id
left join public.workspaces as w on w.id = b.workspace_id
left join public.organizations as o on o.id = w.organization_id
left join public.templates as t on t.id = w.template_id
left join public.template_version_presets as p on p.id = b.template_version_preset_id
where b.build_number = 1
  and b.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0'
  and b.template_version_preset_id is not null
  and j.completed_at is not null
  and j.error <> ''
group by 1, 2, 3
order by 1, 2, 3;
