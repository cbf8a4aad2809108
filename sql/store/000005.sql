-- Retirement: series whose labels name one workspace are not shown once it has been deleted for long enough.

-- Kind 6 of facts, deleted (id: the workspace): what deleted it, as a build. Facts of kind 3 and entities of kind 2, agents, have their
-- `workspace`, too, NULL in what was written before version 5.
create index deleted_at on fact (at) where kind = 6;

-- Workspaces by owner and name: a JSON array [owner, name], which is what follows the id in `value`.
create index workspace_name on workspace ('[' || substr(value, 41));

-- Series that are not shown, by the [owner, name] of their workspaces: their numbers, so that they go on from there if there is a workspace of
-- that name again. No place in `series`.
create table retired (
  family text not null,
  name text not null,
  labels text not null,
  value blob not null,
  primary key (family, name, labels)
) strict, without rowid;

-- Workspaces that were deleted before the ledger began: they are in no series whose labels name a workspace.
create table gone (
  id blob primary key
) strict, without rowid;

-- `meta` also has retired_up_to: names whose workspaces were all deleted up to then, in microseconds, are retired; absent: none ever is.

-- Agents that had not connected when their time was up.
--
-- Kind 10 of facts, overdue (id: the agent): `at` is when its time was up, `took` how long it had, both by the agent's row.
-- Of an agent that waits: how long it may take to connect, in microseconds, NULL for any time; and when that is up, by the server's clock,
-- NULL for never or for what has been told.
alter table entity add column timeout integer;
alter table entity add column due integer;
-- Few: what is told leaves it.
create index entity_due on entity (due) where due is not null;

-- Starts: kind 9 of facts, ready (id: the job of a build that starts a workspace), with its ending in the place of that of a job, a JSON array
-- [status, "", ""]. Kind 5 of what waits: a build that starts a workspace, and of whose agents one is not over with its start, or
-- was late (id: the job). `live`, there: a JSON array of its agents, each [id] or [id, when its start was over, how].

-- What an older version wrote lacks all this until it has been through a baseline.
insert or replace into meta (key, value) select 'lacks', 'deletions' where exists (select 1 from position);
