-- Workspaces that are created, built and connected to, in the statements and transactions of Coder. Setting: bench.count.
-- Twelve changes of the followed tables each.
do $$
declare
  users uuid[] := array(select id from users where not is_system limit 1000);
  template record;
  workspace uuid;
  job uuid;
  build uuid;
  resource uuid;
  agent uuid;
begin
  for i in 1..current_setting('bench.count')::int loop
    select templates.id, organization_id, active_version_id into template
    from templates order by id offset i % 40 limit 1;
    workspace := gen_random_uuid();
    job := gen_random_uuid();
    build := gen_random_uuid();
    resource := gen_random_uuid();
    agent := gen_random_uuid();

    insert into workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name)
    values (workspace, clock_timestamp(), clock_timestamp(), users[1 + i % array_length(users, 1)], template.organization_id,
      template.id, 'new-' || workspace);
    insert into provisioner_jobs (id, created_at, updated_at, organization_id, initiator_id, provisioner, storage_method, type,
      input, file_id)
    values (job, clock_timestamp(), clock_timestamp(), template.organization_id, users[1 + i % array_length(users, 1)],
      'terraform', 'file', 'workspace_build', jsonb_build_object('workspace_build_id', build), gen_random_uuid());
    insert into workspace_builds (id, created_at, updated_at, workspace_id, template_version_id, build_number, transition,
      initiator_id, job_id)
    values (build, clock_timestamp(), clock_timestamp(), workspace, template.active_version_id, 1, 'start',
      users[1 + i % array_length(users, 1)], job);
    commit;
    update provisioner_jobs set started_at = clock_timestamp(), updated_at = clock_timestamp(), worker_id = gen_random_uuid()
    where id = job;
    commit;
    update provisioner_jobs set updated_at = clock_timestamp() where id = job;
    commit;

    update provisioner_jobs set completed_at = clock_timestamp(), updated_at = clock_timestamp() where id = job;
    update workspace_builds set provisioner_state = decode(md5(build::text), 'hex'), updated_at = clock_timestamp() where id = build;
    update workspace_builds set deadline = clock_timestamp() + interval '8 hours' where id = build;
    insert into workspace_resources (id, created_at, job_id, transition, type, name)
    values (resource, clock_timestamp(), job, 'start', 'kubernetes_pod', 'pod');
    insert into workspace_agents (id, created_at, updated_at, name, resource_id, auth_token, architecture, operating_system)
    values (agent, clock_timestamp(), clock_timestamp(), 'main', resource, gen_random_uuid(), 'amd64', 'linux');
    update workspace_builds set has_ai_task = false where id = build;
    commit;

    update workspace_agents
    set first_connected_at = clock_timestamp(), last_connected_at = clock_timestamp(), updated_at = clock_timestamp(),
      last_connected_replica_id = template.id
    where id = agent;
    commit;
    update workspace_agents set lifecycle_state = 'starting', started_at = clock_timestamp() where id = agent;
    commit;
    update workspace_agents set lifecycle_state = 'ready', ready_at = clock_timestamp() where id = agent;
    commit;
  end loop;
end $$
