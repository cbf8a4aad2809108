-- Firstlight's store, version 1. Migrations are append-only: never edit this file, add 000002.sql.
-- Times and durations: integer microseconds. Positions (LSN): 64-bit integers. Ids: the 16 bytes of a UUID.

-- Where the stream stands: one row. `end_lsn`: everything up to here is in the ledger.
create table position (
  one integer primary key check (one = 1),
  system_id text not null,
  timeline integer not null,
  database text not null,
  slot text not null,
  publication text not null,
  consistent_lsn integer not null,
  end_lsn integer not null
) strict;

-- Label values, frozen when a build or agent was first seen: a JSON array
-- [organization, template, preset] or [organization, template, preset, agent, username, workspace].
create table names (
  id integer primary key,
  value text not null unique
) strict;

-- How a failed, canceled or successful job ended: a JSON array [status, stage, error_code].
create table ending (
  id integer primary key,
  value text not null unique
) strict;

-- The ledger. kind: 1 attempted (id: build), 2 ended (job), 3 connected (agent), 4 offered (template or preset).
create table fact (
  kind integer not null,
  id blob not null,
  at integer not null,
  end_lsn integer not null,
  names integer not null references names (id),
  took integer,
  ending integer references ending (id),
  primary key (kind, id)
) strict, without rowid;

-- What waits: kind 1 build (id: its job), 2 agent.
create table entity (
  kind integer not null,
  id blob not null,
  created_at integer not null,
  names integer not null references names (id),
  primary key (kind, id)
) strict, without rowid;

-- The fold of the ledger, cached: per series its numbers as little-endian doubles (see src/metrics/pages.ts).
-- rowid order is the order of birth.
create table series (
  id integer primary key,
  family text not null,
  labels text not null,
  value blob not null,
  unique (family, labels)
) strict;

-- Ids whose rows were rewritten or deleted after they were counted, and what the tables said last.
create table divergent (
  kind integer not null,
  id blob not null,
  reason text not null check (reason in ('revised', 'vanished')),
  seen text,
  primary key (kind, id)
) strict, without rowid;

-- What the cached fold was folded with: it is folded again when the catalog or its labels change.
create table meta (
  key text primary key,
  value text not null
) strict, without rowid;
