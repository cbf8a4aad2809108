-- What feeds coderd_workspace_creation_total: of each workspace its earliest start that succeeded, whoever made it; those of the
-- prebuilds user and of deleted templates do not count, deleted workspaces do.
select organization.name as organization_name, template.name as template_name, coalesce(preset.name, '') as preset_name,
  count(*)::float8 as value
from (
  select distinct on (build.workspace_id) build.workspace_id, build.initiator_id, build.template_version_preset_id
  from workspace_builds as build
  join provisioner_jobs as job on job.id = build.job_id
  where build.transition = 'start' and job.job_status = 'succeeded'
  order by build.workspace_id, build.build_number
) as created
join workspaces as workspace on workspace.id = created.workspace_id
join templates as template on template.id = workspace.template_id and not template.deleted
join organizations as organization on organization.id = workspace.organization_id
left join template_version_presets as preset on preset.id = created.template_version_preset_id
where created.initiator_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0'
group by 1, 2, 3
