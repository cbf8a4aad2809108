-- What releases up to v2.36 leave behind: an agent on every stop, which never connects and is never deleted.
-- To be run with session_replication_role = replica.
insert into workspace_agents (id, created_at, updated_at, name, resource_id, auth_token, architecture, environment_variables,
  operating_system, directory)
select md5('older agent ' || resource.id)::uuid, resource.created_at, resource.created_at, 'main', resource.id,
  md5('older token ' || resource.id)::uuid, 'amd64', jsonb_build_object('GIT_AUTHOR_NAME', 'Some User'), 'linux', '/home/coder'
from workspace_resources as resource
where resource.transition = 'stop'
order by resource.created_at;
