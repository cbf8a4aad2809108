// Everything in a server's catalogs that `setup` and `serve` could leave behind, as text to compare.

import type pg from "pg";

const sorted = ([name, value]: [string, unknown]) =>
  [name, Array.isArray(value) ? value.toSorted() : value] as const;

/** Publications, slots, and who may do what with schemas, tables and columns; and which roles there are. */
export async function catalogOf(client: pg.Client): Promise<Readonly<Record<string, unknown>>> {
  const { rows } = await client.query<Record<string, unknown>>(SNAPSHOT);
  return Object.fromEntries(Object.entries(rows[0] ?? {}).map(sorted));
}

// A list that was never written down means the default one, so the default stands in for it: writing it down changes no right.
const SNAPSHOT = `
select
  (select array_agg(p.pubname::text) from pg_publication as p) as publications,
  (select count(*)::int from pg_publication_rel) as published,
  (select array_agg(s.slot_name::text) from pg_replication_slots as s where s.database = current_database()) as slots,
  (select array_agg(format('%s: %s may %s', n.nspname, acl.grantee::regrole, acl.privilege_type))
   from pg_namespace as n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as acl
   where n.nspname = 'public') as schemas,
  (select array_agg(format('%s: %s may %s', c.relname, acl.grantee::regrole, acl.privilege_type))
   from pg_class as c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) as acl
   where c.relnamespace = 'public'::regnamespace and c.relkind = 'r') as tables,
  (select array_agg(format('%s.%s: %s may %s', c.relname, a.attname, acl.grantee::regrole, acl.privilege_type))
   from pg_class as c join pg_attribute as a on a.attrelid = c.oid, aclexplode(a.attacl) as acl
   where c.relnamespace = 'public'::regnamespace) as columns,
  (select array_agg(format('%s is in %s', m.member::regrole, m.roleid::regrole))
   from pg_auth_members as m where m.member::regrole::text like '%' || current_database() || '%') as members`;
