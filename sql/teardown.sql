-- Removes what Firstlight made in Coder's database. The order matters: stop Firstlight first, or it takes the loss of its slot
-- for a gap and makes a new one; drop the slot before the publication, for a stream without its publication fails or skips.

-- 1. An administrator (or the role itself), on the server that Firstlight followed (its standby, if it was one).
--    From here on the server need not keep WAL for it.
select pg_catalog.pg_drop_replication_slot(slot_name)
from pg_catalog.pg_replication_slots
where slot_name = 'firstlight';

-- 2. The owner of the publication, on the primary, in Coder's database.
drop publication if exists "firstlight";

-- 3. An administrator, on the primary, in Coder's database: the grants, then the role.
--    wal_level may stay as it is.
drop owned by "firstlight";
drop role "firstlight";
