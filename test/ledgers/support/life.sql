-- Lives the builds and agents of deployment.sql once more, after a slot was made: each build as Coder writes it, in the order of time, in
-- transactions of its own (inserted; taken; ended, with its agents; connected; some heartbeats; ready). First part: what is there is put aside.
create table staged_job as select * from provisioner_jobs where type = 'workspace_build';
create table staged_build as select * from workspace_builds;
create table staged_agent as
  select agents.*, resources.job_id from workspace_agents as agents join workspace_resources as resources on resources.id = agents.resource_id;
create index on staged_job (id);
create index on staged_build (created_at);
create index on staged_agent (job_id);
analyze staged_job, staged_build, staged_agent;
delete from workspace_agents;
delete from workspace_builds;
delete from provisioner_jobs where type = 'workspace_build';
