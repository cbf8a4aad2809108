-- The ten Coder tables that the derivation reads or looks up, for the demo and the tests. Our own DDL: the names, types,
-- keys and defaults are those of Coder v2.36 (coderd/database/dump.sql); tables and triggers that no followed row depends
-- on are left out. The wide and secret columns are kept: what must never be published has to be there to be leaked.
-- Runs on PostgreSQL 13 to 18.

create type user_status as enum ('active', 'suspended', 'dormant');
create type login_type as enum ('password', 'github', 'oidc', 'token', 'none', 'oauth2_provider_app');
create type provisioner_type as enum ('echo', 'terraform');
create type provisioner_storage_method as enum ('file');
create type provisioner_job_type as enum ('template_version_import', 'workspace_build', 'template_version_dry_run');
create type provisioner_job_status as enum (
  'pending', 'running', 'succeeded', 'canceling', 'canceled', 'failed', 'unknown'
);
create type prebuild_status as enum ('healthy', 'hard_limited', 'validation_failed');
create type automatic_updates as enum ('always', 'never');
create type app_sharing_level as enum ('owner', 'authenticated', 'organization', 'public');
create type workspace_transition as enum ('start', 'stop', 'delete');
create type build_reason as enum (
  'initiator', 'autostart', 'autostop', 'dormancy', 'failedstop', 'autodelete', 'dashboard', 'cli', 'ssh_connection',
  'vscode_connection', 'jetbrains_connection', 'task_auto_pause', 'task_manual_pause', 'task_resume'
);
create type workspace_agent_lifecycle_state as enum (
  'created', 'starting', 'start_timeout', 'start_error', 'ready', 'shutting_down', 'shutdown_timeout', 'shutdown_error',
  'off'
);
create type workspace_agent_subsystem as enum ('envbuilder', 'envbox', 'none', 'exectrace');
create type display_app as enum ('vscode', 'vscode_insiders', 'web_terminal', 'ssh_helper', 'port_forwarding_helper');
create type agent_key_scope_enum as enum ('all', 'no_user_data');

create table organizations (
  id uuid primary key,
  name text not null,
  description text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  is_default boolean not null default false,
  display_name text not null,
  icon text not null default '',
  deleted boolean not null default false
);
create unique index organizations_name_lower_idx on organizations (lower(name)) where not deleted;
create unique index organizations_single_default_idx on organizations (is_default) where is_default;

create table users (
  id uuid primary key,
  email text not null,
  username text not null default '',
  hashed_password bytea not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  status user_status not null default 'dormant',
  rbac_roles text[] not null default '{}',
  login_type login_type not null default 'password',
  avatar_url text not null default '',
  deleted boolean not null default false,
  last_seen_at timestamp not null default '0001-01-01 00:00:00',
  quiet_hours_schedule text not null default '',
  name text not null default '',
  github_com_user_id bigint,
  hashed_one_time_passcode bytea,
  one_time_passcode_expires_at timestamptz,
  is_system boolean not null default false
);
create unique index users_email_lower_idx on users (lower(email)) where not deleted;
create unique index users_username_lower_idx on users (lower(username)) where not deleted;

create table templates (
  id uuid primary key,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  organization_id uuid not null references organizations (id) on delete cascade,
  deleted boolean not null default false,
  name varchar(64) not null,
  provisioner provisioner_type not null,
  active_version_id uuid not null,
  description varchar(128) not null default '',
  default_ttl bigint not null default 604800000000000,
  created_by uuid not null references users (id) on delete restrict,
  icon varchar(256) not null default '',
  user_acl jsonb not null default '{}',
  group_acl jsonb not null default '{}',
  display_name varchar(64) not null default '',
  allow_user_cancel_workspace_jobs boolean not null default true,
  allow_user_autostart boolean not null default true,
  allow_user_autostop boolean not null default true,
  failure_ttl bigint not null default 0,
  time_til_dormant bigint not null default 0,
  time_til_dormant_autodelete bigint not null default 0,
  autostop_requirement_days_of_week smallint not null default 0,
  autostop_requirement_weeks bigint not null default 0,
  autostart_block_days_of_week smallint not null default 0,
  require_active_version boolean not null default false,
  deprecated text not null default '',
  activity_bump bigint not null default 3600000000000,
  max_port_sharing_level app_sharing_level not null default 'owner'
);
create unique index templates_organization_id_name_idx on templates (organization_id, lower(name)) where not deleted;

create table template_versions (
  id uuid primary key,
  template_id uuid references templates (id) on delete cascade,
  organization_id uuid not null references organizations (id) on delete cascade,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  name varchar(64) not null,
  readme varchar(1048576) not null,
  job_id uuid not null,
  created_by uuid not null references users (id) on delete restrict,
  external_auth_providers jsonb not null default '[]',
  message varchar(1048576) not null default '',
  archived boolean not null default false,
  source_example_id text,
  has_ai_task boolean,
  has_external_agent boolean,
  unique (template_id, name)
);

create table template_version_presets (
  id uuid primary key default gen_random_uuid(),
  template_version_id uuid not null references template_versions (id) on delete cascade,
  name text not null,
  created_at timestamptz not null default current_timestamp,
  desired_instances integer,
  invalidate_after_secs integer default 0,
  prebuild_status prebuild_status not null default 'healthy',
  scheduling_timezone text not null default '',
  is_default boolean not null default false,
  description varchar(128) not null default '',
  icon varchar(256) not null default '',
  unique (id, template_version_id)
);
create unique index template_version_presets_default_idx on template_version_presets (template_version_id)
  where is_default;

create table workspaces (
  id uuid primary key,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  owner_id uuid not null references users (id) on delete restrict,
  organization_id uuid not null references organizations (id) on delete restrict,
  template_id uuid not null references templates (id) on delete restrict,
  deleted boolean not null default false,
  name varchar(64) not null,
  autostart_schedule text,
  ttl bigint,
  last_used_at timestamptz not null default '0001-01-01 00:00:00+00',
  dormant_at timestamptz,
  deleting_at timestamptz,
  automatic_updates automatic_updates not null default 'never',
  favorite boolean not null default false,
  next_start_at timestamptz
);
create unique index workspaces_owner_id_lower_idx on workspaces (owner_id, lower(name)) where not deleted;
create index workspaces_template_id_idx on workspaces (template_id) where not deleted;
create index workspaces_next_start_at_idx on workspaces (next_start_at) where not deleted;

create table provisioner_jobs (
  id uuid primary key,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  started_at timestamptz,
  canceled_at timestamptz,
  completed_at timestamptz,
  error text,
  organization_id uuid not null references organizations (id) on delete cascade,
  initiator_id uuid not null,
  provisioner provisioner_type not null,
  storage_method provisioner_storage_method not null,
  type provisioner_job_type not null,
  input jsonb not null,
  worker_id uuid,
  file_id uuid not null,
  tags jsonb not null default '{"scope": "organization"}',
  error_code text,
  trace_metadata jsonb,
  job_status provisioner_job_status not null generated always as (
    case
      when completed_at is not null then
        case
          when coalesce(error, '') <> '' then 'failed'::provisioner_job_status
          when canceled_at is not null then 'canceled'::provisioner_job_status
          else 'succeeded'::provisioner_job_status
        end
      when coalesce(error, '') <> '' then 'failed'::provisioner_job_status
      when canceled_at is not null then 'canceling'::provisioner_job_status
      when started_at is null then 'pending'::provisioner_job_status
      else 'running'::provisioner_job_status
    end
  ) stored,
  logs_length integer not null default 0,
  logs_overflowed boolean not null default false,
  constraint max_provisioner_logs_length check (logs_length <= 1048576)
);
create index provisioner_jobs_job_status_idx on provisioner_jobs (job_status);
create index provisioner_jobs_started_at_idx on provisioner_jobs (started_at) where started_at is null;
create index provisioner_jobs_worker_id_organization_id_completed_at_idx
  on provisioner_jobs (worker_id, organization_id, completed_at desc);

create table workspace_builds (
  id uuid primary key,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  workspace_id uuid not null references workspaces (id) on delete cascade,
  template_version_id uuid not null references template_versions (id) on delete cascade,
  build_number integer not null,
  transition workspace_transition not null,
  initiator_id uuid not null,
  provisioner_state bytea,
  job_id uuid not null unique references provisioner_jobs (id) on delete cascade,
  deadline timestamptz not null default '0001-01-01 00:00:00+00',
  reason build_reason not null default 'initiator',
  daily_cost integer not null default 0,
  max_deadline timestamptz not null default '0001-01-01 00:00:00+00',
  template_version_preset_id uuid references template_version_presets (id) on delete set null,
  has_ai_task boolean,
  has_external_agent boolean,
  notified_autostop_deadline timestamptz not null default '0001-01-01 00:00:00+00',
  unique (workspace_id, build_number)
);
create index workspace_builds_initiator_id_idx on workspace_builds (initiator_id);

create table workspace_resources (
  id uuid primary key,
  created_at timestamptz not null,
  job_id uuid not null references provisioner_jobs (id) on delete cascade,
  transition workspace_transition not null,
  type varchar(192) not null,
  name varchar(64) not null,
  hide boolean not null default false,
  icon varchar(256) not null default '',
  instance_type varchar(256),
  daily_cost integer not null default 0,
  module_path text
);
create index workspace_resources_job_id_idx on workspace_resources (job_id);

create table workspace_agents (
  id uuid primary key,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  name varchar(64) not null,
  first_connected_at timestamptz,
  last_connected_at timestamptz,
  disconnected_at timestamptz,
  resource_id uuid not null references workspace_resources (id) on delete cascade,
  auth_token uuid not null,
  auth_instance_id varchar,
  architecture varchar(64) not null,
  environment_variables jsonb,
  operating_system varchar(64) not null,
  instance_metadata jsonb,
  resource_metadata jsonb,
  directory varchar(4096) not null default '',
  version text not null default '',
  last_connected_replica_id uuid,
  connection_timeout_seconds integer not null default 0,
  troubleshooting_url text not null default '',
  motd_file text not null default '',
  lifecycle_state workspace_agent_lifecycle_state not null default 'created',
  expanded_directory varchar(4096) not null default '',
  logs_length integer not null default 0,
  logs_overflowed boolean not null default false,
  started_at timestamptz,
  ready_at timestamptz,
  subsystems workspace_agent_subsystem[] default '{}',
  display_apps display_app[] default '{vscode,vscode_insiders,web_terminal,ssh_helper,port_forwarding_helper}',
  api_version text not null default '',
  display_order integer not null default 0,
  parent_id uuid references workspace_agents (id) on delete cascade,
  api_key_scope agent_key_scope_enum not null default 'all',
  deleted boolean not null default false,
  constraint max_logs_length check (logs_length <= 1048576),
  constraint subsystems_not_none check (not ('none'::workspace_agent_subsystem = any (subsystems)))
);
create index workspace_agents_resource_id_idx on workspace_agents (resource_id);
create index workspace_agents_auth_token_idx on workspace_agents (auth_token);
create index workspace_agents_auth_instance_id_deleted_idx on workspace_agents (auth_instance_id, deleted);

-- Agent names are unique per build: it is what a second CompleteJob for a build with agents dies on.
create function check_workspace_agent_name_unique() returns trigger language plpgsql as $$
begin
  if exists (
    select
    from workspace_resources mine
    join workspace_builds build on build.job_id = mine.job_id
    join workspace_resources resource on resource.job_id = mine.job_id
    join workspace_agents agent on agent.resource_id = resource.id
    where mine.id = new.resource_id and agent.id <> new.id and agent.name = new.name and not agent.deleted
  ) then
    raise unique_violation using message = format('workspace agent name "%s" already exists in this build', new.name);
  end if;
  return new;
end
$$;
create trigger workspace_agent_name_unique before insert or update of name, resource_id on workspace_agents
  for each row execute function check_workspace_agent_name_unique();
