-- What feeds coderd_prebuilt_workspaces_running and _eligible: the prebuilds user's workspaces whose latest build is a start that
-- succeeded; eligible if all their parent agents are ready.
select template.name as template_name, coalesce(preset.name, '') as preset_name, organization.name as organization_name,
  count(*)::float8 as running, count(*) filter (where agents.ready)::float8 as eligible
from workspaces as workspace
join templates as template on template.id = workspace.template_id and not template.deleted
join organizations as organization on organization.id = workspace.organization_id
join lateral (
  select latest.job_id, latest.transition, latest.template_version_preset_id
  from workspace_builds as latest
  where latest.workspace_id = workspace.id
  order by latest.build_number desc
  limit 1
) as build on build.transition = 'start'
join provisioner_jobs as job on job.id = build.job_id and job.job_status = 'succeeded'
left join template_version_presets as preset on preset.id = build.template_version_preset_id
join lateral (
  select coalesce(bool_and(agent.lifecycle_state = 'ready'), false) as ready
  from workspace_resources as resource
  join workspace_agents as agent on agent.resource_id = resource.id
  where resource.job_id = build.job_id and agent.parent_id is null and not agent.deleted
) as agents on true
where workspace.owner_id = 'c42fdf75-3097-471c-8c33-fb52454d81c0' and not workspace.deleted
group by 1, 2, 3
