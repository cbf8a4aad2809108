-- Prepares Coder's database for Firstlight. The follower itself needs no more than this: a role that may replicate and
-- read these columns. Mind that a role with REPLICATION can copy the whole server, whatever it was granted, and can read,
-- advance and drop every slot: guard its password like that of a backup (docs/security.md).

-- 1. As administrator, on the primary.
--    wal_level takes effect at the next restart. For a managed service see `setup --provider`.
alter system set wal_level = 'logical';
create role "firstlight" with login replication;
--    Then give the role a password, e.g. in psql: \password "firstlight"
--    In pg_hba.conf, above all lines that match more; with the address that Firstlight connects from. Logical replication
--    connects to the database by its name: a line for `replication` is for physical replication, which is not needed.
--      hostssl coder firstlight 10.0.0.0/24 scram-sha-256
--      host all firstlight all reject
--      host replication firstlight all reject
--    Then: select pg_reload_conf();
--    What a slot may hold back is unlimited by default. A limit is for all slots, those of standbys too, e.g.:
--      alter system set max_slot_wal_keep_size = '50GB'; select pg_reload_conf();

-- 2. As owner of Coder's tables (with the right to create in the database), on the primary, in Coder's database.
--    A listed column can not be dropped or retyped while it is listed. If a migration of Coder fails for that: drop the
--    publication, migrate, create it again as below. `setup --whole-tables` lists none.
create publication "firstlight" for table
  "public".workspace_builds (id, created_at, workspace_id, template_version_id, build_number, transition, initiator_id, job_id, reason, template_version_preset_id),
  "public".provisioner_jobs (id, created_at, updated_at, started_at, canceled_at, completed_at, error, error_code, type, provisioner, initiator_id, worker_id),
  "public".workspace_agents (id, created_at, name, first_connected_at, last_connected_at, disconnected_at, resource_id, parent_id, lifecycle_state, ready_at, deleted)
with (publish = 'insert, update, delete, truncate');

-- Of a job's input one key is read, which tells the claim of a prebuilt workspace, and of an agent how long it may take to connect.
-- Neither is published.
grant usage on schema "public" to "firstlight";
grant select (id, created_at, workspace_id, template_version_id, build_number, transition, initiator_id, job_id, reason, template_version_preset_id) on "public".workspace_builds to "firstlight";
grant select (id, created_at, updated_at, started_at, canceled_at, completed_at, error, error_code, type, provisioner, initiator_id, worker_id, input) on "public".provisioner_jobs to "firstlight";
grant select (id, created_at, name, first_connected_at, last_connected_at, disconnected_at, resource_id, parent_id, lifecycle_state, ready_at, deleted, connection_timeout_seconds) on "public".workspace_agents to "firstlight";
grant select (id, job_id) on "public".workspace_resources to "firstlight";
grant select (id, owner_id, organization_id, template_id, name, deleted) on "public".workspaces to "firstlight";
grant select (id, created_at, organization_id, deleted, name, active_version_id) on "public".templates to "firstlight";
grant select (id, name, template_version_id) on "public".template_version_presets to "firstlight";
grant select (id, template_id, job_id, name) on "public".template_versions to "firstlight";
grant select (id, name) on "public".organizations to "firstlight";
grant select (id, username) on "public".users to "firstlight";

-- 3. As administrator, on the standby, if Firstlight follows one (Postgres 16 or newer).
--      alter system set hot_standby_feedback = on;
--      alter system set primary_slot_name = 'standby';
--      select pg_reload_conf();
--    after this on the primary: select pg_create_physical_replication_slot('standby');
--    wal_level is logical there, too, after a restart (the primary first): alter system set wal_level = 'logical';
--    The pg_hba.conf that counts is the standby's. Roles, grants and the publication come from the primary by themselves.
