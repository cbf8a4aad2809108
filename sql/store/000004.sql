-- Workspaces with their owner and name as they were: a JSON array [id, owner, name].
create table workspace (
  id integer primary key,
  value text not null unique
) strict;

-- Whose build it is, and its build_number: of attempted, ended and created facts (kind 5, id: the workspace), and of builds that
-- wait. NULL in what was written before version 4. The names of builds are [organization, template, preset, version] from here on.
alter table fact add column workspace integer references workspace (id);
alter table fact add column number integer;
alter table entity add column workspace integer references workspace (id);
alter table entity add column number integer;

-- Of the time to first light, where an agent has one (kind 3 of facts, 2 of what waits): how long its build was in the queue and
-- how long a provisioner had it, in microseconds, and when it was completed. `traits` are those of that build.
alter table fact add column queued integer;
alter table fact add column provisioned integer;
alter table fact add column completed integer;
alter table entity add column queued integer;
alter table entity add column provisioned integer;
alter table entity add column completed integer;

-- Also kind 3: a workspace that is not deleted (id: the workspace), by its latest build. `live`: a JSON array
-- [id of that build's job, its status, when it ended, whether the ledger has all its builds, how many agents it has had, ids of those deleted].
alter table entity add column live text;

-- Kind 7, started (id: the job), is of jobs of all types, 8, ran (job), of those that build no workspace. What a job of these is, is in
-- the place of the traits: a JSON array [type, provisioner]; its names are empty. Entities of kind 4 are jobs, of all types, that a
-- worker has and that have not ended.

-- What an older version wrote lacks all this, and all facts of kinds 5, 7 and 8, until it has been through a baseline.
insert or replace into meta (key, value) select 'lacks', 'workspaces' where exists (select 1 from position);
delete from meta where key = 'builds';
