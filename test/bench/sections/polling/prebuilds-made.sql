-- What feeds coderd_prebuilt_workspaces_created_total, _failed_total and _claimed_total: workspaces whose first build was made by
-- the prebuilds user from a preset; failed if that build did, claimed if somebody else owns it now.
select template.name as template_name, preset.name as preset_name, organization.name as organization_name,
  count(*)::float8 as created,
  count(*) filter (where job.job_status = 'failed')::float8 as failed,
  count(*) filter (where workspace.owner_id <> 'c42fdf75-3097-471c-8c33-fb52454d81c0')::float8 as claimed
from workspace_builds as build
join provisioner_jobs as job on job.id = build.job_id
join workspaces as workspace on workspace.id = build.workspace_id
join templates as template on template.id = workspace.template_id and not template.deleted
join template_version_presets as preset on preset.id = build.template_version_preset_id
join organizations as organization on organization.id = workspace.organization_id
where build.build_number = 1 and build.initiator_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0'
group by 1, 2, 3
