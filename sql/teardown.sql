-- Removes what Firstlight made in Coder's database. The order matters: stop Firstlight first, or it takes the loss of its slot
-- for a gap and makes a new one; drop the slot before the publication, for a stream without its publication fails or skips.

-- 1. As the role that followed, or as administrator, on the server that was followed (the standby, if it was one).
--    From here on the server need not keep WAL for it. While somebody reads the slot, this fails and nothing is lost.
select pg_catalog.pg_drop_replication_slot(slot_name)
from pg_catalog.pg_replication_slots
where slot_name = 'firstlight';

-- 2. As owner of Coder's tables, on the primary, in Coder's database.
drop publication if exists "firstlight";
revoke select on "public".workspace_builds from "firstlight";
revoke select on "public".provisioner_jobs from "firstlight";
revoke select on "public".workspace_agents from "firstlight";
revoke select on "public".workspace_resources from "firstlight";
revoke select on "public".workspaces from "firstlight";
revoke select on "public".templates from "firstlight";
revoke select on "public".template_version_presets from "firstlight";
revoke select on "public".template_versions from "firstlight";
revoke select on "public".organizations from "firstlight";
revoke select on "public".users from "firstlight";
revoke usage on schema "public" from "firstlight";

-- 3. As administrator, on the primary. Fails while the role owns or may do anything yet, which is as it should be. A role that
--    an operator or a console manages goes there, or it comes back. wal_level may stay as it is; so may pg_hba.conf, but
--    its lines for the role are of no more use.
drop role "firstlight";
