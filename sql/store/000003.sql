-- What a build is, beside its names: a JSON array [transition, reason, provisioner, initial, prebuild, claimed].
create table traits (
  id integer primary key,
  value text not null unique
) strict;

-- Of attempted and ended facts, and of builds that wait. NULL in what was written before version 3, which counted first builds
-- alone: the next baseline fills it in. `took` is also that of ended facts from here on.
alter table fact add column traits integer references traits (id);
alter table entity add column traits integer references traits (id);

-- Such a ledger lacks all other builds until it has been through a baseline.
insert into meta (key, value) select 'builds', 'first' where exists (select 1 from position);
