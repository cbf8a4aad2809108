// What the role may beyond what following needs. Too little is a requirement (`requirements.ts`); too much is what a thief of its
// password could do.

import pg from "pg";
import { must } from "../../errors.ts";
import { CODER_SCHEMA } from "../publication.ts";
import { READ_COLUMNS, grants } from "../grants.ts";
import type { Session } from "../session.ts";
import type { Diagnosis } from "./diagnosis.ts";

/** So many are named; of the rest how many there are. */
const NAMED = 5;
/** Named first: with them somebody can be somebody else. */
const SECRET =
  /^(auth_token|provisioner_state|hashed_.*|.*secret.*|.*_token|oauth_.*|private_key)$/;

export interface Privileges {
  readonly role: string;
  readonly superuser: boolean;
  /** Tables of Coder's that it owns, itself or as a member of their owner. */
  readonly owned: readonly string[];
  /** Roles it is a member of that give it all data of the cluster. */
  readonly allData: readonly string[];
  /** `table.column` that it may read and need not. */
  readonly readable: readonly string[];
  /** Tables that it may write. */
  readonly writable: readonly string[];
  /** Whom those rights were given to: itself, `public`, or a role that it is a member of. */
  readonly grantees: readonly string[];
}

const PRIVILEGES = `
with needed as (select * from unnest($1::text[], $2::text[]) as n ("table", "column")),
tables as (
  select c.* from pg_catalog.pg_class as c join pg_catalog.pg_namespace as s on s.oid = c.relnamespace
  where s.nspname = $3 and c.relkind in ('r', 'p', 'v', 'm', 'f')),
rights as (
  select acl.grantee from tables as t cross join lateral pg_catalog.aclexplode(t.relacl) as acl
  union
  select acl.grantee from tables as t join pg_catalog.pg_attribute as a on a.attrelid = t.oid
  cross join lateral pg_catalog.aclexplode(a.attacl) as acl)
select r.rolname as role, r.rolsuper as superuser,
  array(select t.relname::text from tables as t where pg_catalog.pg_has_role(r.oid, t.relowner, 'usage') order by 1) as owned,
  array(select g.rolname::text from pg_catalog.pg_auth_members as m join pg_catalog.pg_roles as g on g.oid = m.roleid
        where m.member = r.oid and (pg_catalog.pg_has_role(g.oid, 'pg_read_all_data', 'usage')
                                    or pg_catalog.pg_has_role(g.oid, 'pg_write_all_data', 'usage')) order by 1) as "allData",
  array(select t.relname || '.' || a.attname from tables as t
        join pg_catalog.pg_attribute as a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
        where pg_catalog.has_column_privilege(r.oid, t.oid, a.attnum, 'select')
          and not exists (select from needed as n where n."table" = t.relname and n."column" = a.attname)
        order by 1) as readable,
  array(select t.relname::text from tables as t
        where pg_catalog.has_table_privilege(r.oid, t.oid, 'insert, update, delete, truncate')
          or pg_catalog.has_any_column_privilege(r.oid, t.oid, 'insert, update') order by 1) as writable,
  array(select distinct case when rights.grantee = 0 then 'public' else g.rolname::text end
        from rights left join pg_catalog.pg_roles as g on g.oid = rights.grantee
        where rights.grantee = 0 or pg_catalog.pg_has_role(r.oid, rights.grantee, 'usage')) as grantees
from pg_catalog.pg_roles as r where r.rolname = current_user`;

export async function privilegesOf(session: Session): Promise<Privileges> {
  const columns = Object.entries(READ_COLUMNS).flatMap(([table, names]) =>
    names.map((column) => ({ table, column })),
  );
  const rows = await session.query<Privileges & Record<string, unknown>>(PRIVILEGES, [
    columns.map(({ table }) => table),
    columns.map(({ column }) => column),
    CODER_SCHEMA,
  ]);
  return must(rows[0], "no role");
}

/** What is too much, each with what takes it away; the greater hides the smaller. Pure. */
export function privilegesVerdict(privileges: Privileges): Diagnosis[] {
  const { role, superuser, owned, allData, readable, writable } = privileges;
  const name = pg.escapeIdentifier(role);
  const risk = (problem: string, fix: string): Diagnosis[] => [
    { check: "privileges", severity: "risk", problem: `role ${role} ${problem}`, fix },
  ];
  if (superuser)
    return risk(
      "is a superuser: whoever has its password has the server",
      `${ownRole(role)}\n-- or, if it is nobody else's: alter role ${name} with nosuperuser replication;`,
    );
  if (owned.length > 0)
    return risk(
      `owns tables of Coder's, or is a member of their owner: it can change and drop ${listed(owned)}`,
      ownRole(role),
    );
  if (allData.length > 0)
    return risk(
      `reads or writes all data of the server, as a member of ${allData.join(", ")}`,
      [
        ...allData.map((group) => `revoke ${pg.escapeIdentifier(group)} from ${name};`),
        ...grants(role),
      ].join("\n"),
    );
  if (readable.length === 0 && writable.length === 0) return [];
  const what = [
    ...(readable.length === 0 ? [] : [`read ${listed(readable.toSorted(secretsFirst))}`]),
    ...(writable.length === 0 ? [] : [`write ${listed(writable)}`]),
  ];
  return risk(`may do more than it needs: ${what.join("; ")}`, taken(privileges).join("\n"));
}

const rank = (column: string): number => (SECRET.test(column.split(".")[1] ?? "") ? 0 : 1);

const secretsFirst = (one: string, other: string): number => rank(one) - rank(other);

function listed(names: readonly string[]): string {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

const SCHEMA = pg.escapeIdentifier(CODER_SCHEMA);

/** Takes everything away and gives back what is needed: rights on tables and on columns alike. */
function taken({ role, grantees }: Privileges): string[] {
  const name = pg.escapeIdentifier(role);
  return [
    ...grantees.map((grantee) => {
      if (grantee === "public")
        return `revoke all on all tables in schema ${SCHEMA} from public; -- whoever else needs it gets a grant of its own`;
      return grantee === role
        ? `revoke all on all tables in schema ${SCHEMA} from ${name};`
        : `revoke ${pg.escapeIdentifier(grantee)} from ${name};`;
    }),
    ...grants(role),
  ];
}

/** A role for nothing but following. */
function ownRole(current: string): string {
  const name = current === "firstlight" ? "firstlight_follower" : "firstlight";
  const role = pg.escapeIdentifier(name);
  return [
    `create role ${role} with login replication; -- give it a password: \\password ${role} in psql`,
    ...grants(name),
    `-- then name ${name} instead of ${current} in --database-url`,
  ].join("\n");
}
