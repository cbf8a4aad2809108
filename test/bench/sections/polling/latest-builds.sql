-- What feeds coderd_api_workspace_latest_build and coderd_workspace_latest_build_status: one row for each workspace that is not
-- deleted, with how its latest build stands.
select workspace.id::text as workspace_id, owner.username as workspace_owner, template.name as template_name,
  coalesce(version.name, '') as template_version, build.transition::text as workspace_transition, job.job_status::text as status,
  1::float8 as value
from workspaces as workspace
join users as owner on owner.id = workspace.owner_id
join templates as template on template.id = workspace.template_id
join lateral (
  select latest.job_id, latest.transition, latest.template_version_id
  from workspace_builds as latest
  where latest.workspace_id = workspace.id
  order by latest.build_number desc
  limit 1
) as build on true
join provisioner_jobs as job on job.id = build.job_id
left join template_versions as version on version.id = build.template_version_id
where not workspace.deleted
