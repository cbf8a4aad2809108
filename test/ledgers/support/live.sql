-- Second part: see life.sql. One statement, because it commits as it goes.
do $$
declare
  build staged_build;
  job staged_job;
begin
  for build in select * from staged_build order by created_at loop
    select * into job from staged_job where id = build.job_id;
    insert into provisioner_jobs (id, created_at, updated_at, organization_id, initiator_id, provisioner, storage_method, type, input,
      file_id, trace_metadata)
    values (job.id, job.created_at, job.created_at, job.organization_id, job.initiator_id, job.provisioner, job.storage_method, job.type,
      job.input, job.file_id, job.trace_metadata);
    insert into workspace_builds (id, created_at, updated_at, workspace_id, template_version_id, build_number, transition, initiator_id,
      provisioner_state, job_id, reason, template_version_preset_id)
    values (build.id, build.created_at, build.updated_at, build.workspace_id, build.template_version_id, build.build_number,
      build.transition, build.initiator_id, build.provisioner_state, build.job_id, build.reason, build.template_version_preset_id);
    commit;
    if job.worker_id is not null then
      update provisioner_jobs set started_at = job.started_at, worker_id = job.worker_id where id = job.id;
      commit;
    end if;
    update provisioner_jobs set canceled_at = job.canceled_at, completed_at = job.completed_at, error = job.error,
      error_code = job.error_code, updated_at = job.updated_at where id = job.id;
    insert into workspace_agents (id, created_at, updated_at, name, resource_id, auth_token, architecture, environment_variables,
      operating_system, directory, connection_timeout_seconds)
    select id, created_at, updated_at, name, resource_id, auth_token, architecture, environment_variables, operating_system, directory,
      connection_timeout_seconds
    from staged_agent where job_id = job.id;
    commit;
    for beat in 0..3 loop
      update workspace_agents as agents set first_connected_at = staged.first_connected_at,
        last_connected_at = staged.first_connected_at + beat * interval '15 seconds'
      from staged_agent as staged
      where staged.job_id = job.id and agents.id = staged.id and staged.first_connected_at is not null;
      commit;
    end loop;
    update workspace_agents as agents set lifecycle_state = staged.lifecycle_state, started_at = staged.started_at,
      ready_at = staged.ready_at
    from staged_agent as staged
    where staged.job_id = job.id and agents.id = staged.id and staged.first_connected_at is not null;
    commit;
  end loop;
end
$$
