-- What feeds coderd_agents_up, coderd_agents_connections and, in v2.33, coderd_agents_first_connection_seconds: one row for each
-- agent that is not deleted, in the latest build of a workspace that is not deleted.
select agent.id::text as agent_id, agent.name as agent_name, owner.username, workspace.name as workspace_name,
  template.name as template_name, coalesce(version.name, '') as template_version, agent.lifecycle_state::text as lifecycle_state,
  agent.created_at::text as created_at, agent.first_connected_at::text as first_connected_at,
  agent.last_connected_at::text as last_connected_at, agent.disconnected_at::text as disconnected_at,
  agent.connection_timeout_seconds::text as connection_timeout_seconds, 1::float8 as value
from workspaces as workspace
join users as owner on owner.id = workspace.owner_id
join templates as template on template.id = workspace.template_id
join lateral (
  select latest.job_id, latest.template_version_id
  from workspace_builds as latest
  where latest.workspace_id = workspace.id
  order by latest.build_number desc
  limit 1
) as build on true
join workspace_resources as resource on resource.job_id = build.job_id
join workspace_agents as agent on agent.resource_id = resource.id and not agent.deleted
left join template_versions as version on version.id = build.template_version_id
where not workspace.deleted
