// Every publication of the database: ours as it should be, and any whose lists or filters make statements of Coder fail.
//
// Postgres asks of each published UPDATE and DELETE that the row's identity is known: the table must have one, a column list must
// contain it, and a row filter must use nothing else. Otherwise the statement fails on the primary.
// (https://www.postgresql.org/docs/18/logical-replication-publication.html)

import pg from "pg";
import { type Table, TABLES } from "../../change/row.ts";
import { CODER_SCHEMA, type Finding, PUBLISHED_COLUMNS, publicationSql } from "../publication.ts";
import type { Session } from "../session.ts";
import { type Diagnosis, problems } from "./diagnosis.ts";

/** A table in a publication. */
export interface PublishedTable {
  readonly publication: string;
  /** As SQL takes it. */
  readonly table: string;
  /** Its plain name, where it is in Coder's schema. */
  readonly coders: string | null;
  /** `d` default, `f` full, `n` nothing, `i` index. */
  readonly identity: string;
  readonly hasKey: boolean;
  /** Columns of its replica identity; of `f` and without one none. */
  readonly identityColumns: readonly string[];
  /** Null: no list. */
  readonly listed: readonly string[] | null;
  /** Columns of its row filter. */
  readonly filtered: readonly string[];
  /** False: a member of a schema or of the whole database. */
  readonly named: boolean;
  /** Whether its publication publishes updates or deletes. */
  readonly updates: boolean;
}

/** Names of a table's columns with these numbers, as JSON; NULL where there are none. */
const columnsOf = (numbers: string): string => `(
  select json_agg(a.attname order by a.attnum) from pg_catalog.pg_attribute as a
  where a.attrelid = c.oid and a.attnum = any (${numbers}))`;

// Columns of a filter are taken from its expression tree: pg_depend does not tell them from those of the list.
function publishedSql(version: number): string {
  // From 15 on a publication may have whole schemas, lists of columns and row filters.
  const has = version >= 150_000;
  const list = has ? "r.prattrs" : "null::int2vector";
  const filter = has ? "r.prqual" : "null::pg_node_tree";
  const schemas = has
    ? `exists (select from pg_catalog.pg_publication_namespace as n
                                   where n.pnpubid = p.oid and n.pnnspid = s.oid)`
    : "false";
  return `
select p.pubname as publication, c.oid::regclass::text as "table",
  case when s.nspname = $1 then c.relname end as coders,
  c.relreplident as identity, key.indkey is not null as "hasKey",
  coalesce(${columnsOf("case c.relreplident when 'd' then key.indkey when 'i' then chosen.indkey end")}, '[]') as "identityColumns",
  ${columnsOf("member.list")} as listed,
  coalesce((select json_agg(distinct a.attname)
            from pg_catalog.regexp_matches(member.filter::text, ':varattno ([0-9]+)', 'g') as found (number)
            join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum = found.number[1]::int), '[]') as filtered,
  member.named, p.pubupdate or p.pubdelete as updates
from pg_catalog.pg_publication as p
cross join lateral (
  select r.prrelid as oid, ${list} as list, ${filter} as filter, true as named
  from pg_catalog.pg_publication_rel as r where r.prpubid = p.oid
  union all
  select c.oid, null, null, false
  from pg_catalog.pg_class as c join pg_catalog.pg_namespace as s on s.oid = c.relnamespace
  where c.relkind in ('r', 'p') and c.relpersistence = 'p'
    and s.nspname !~ '^pg_' and s.nspname <> 'information_schema'
    and (p.puballtables or ${schemas})
) as member
join pg_catalog.pg_class as c on c.oid = member.oid
join pg_catalog.pg_namespace as s on s.oid = c.relnamespace
left join pg_catalog.pg_index as key on key.indrelid = c.oid and key.indisprimary
left join pg_catalog.pg_index as chosen on chosen.indrelid = c.oid and chosen.indisreplident
order by p.pubname, c.relname`;
}

export async function publishedTables(session: Session): Promise<readonly PublishedTable[]> {
  return session.query<PublishedTable & Record<string, unknown>>(publishedSql(session.version), [
    CODER_SCHEMA,
  ]);
}

/** What all publications of the database do to Coder's statements; `ours` is told apart. Pure. */
export function publicationsVerdict(
  tables: readonly PublishedTable[],
  ours: string,
): readonly Diagnosis[] {
  const others = tables.filter(({ publication }) => publication !== ours);
  return [
    ...others.flatMap((table) => identityVerdict(table) ?? listVerdict(table)),
    ...ourVerdict(tables.filter(({ publication }) => publication === ours)),
  ];
}

/** Null: an UPDATE passes. */
function identityVerdict(row: PublishedTable): Diagnosis[] | null {
  const { publication, table, identity, identityColumns, listed, filtered, updates } = row;
  if (!updates) return null;
  const fails = (why: string, fix: string): Diagnosis[] => [
    {
      check: "publications",
      severity: "problem",
      problem: `publication ${publication} makes every UPDATE and DELETE of ${table} fail: ${why}`,
      fix,
    },
  ];
  if (identity !== "f" && identityColumns.length === 0) {
    const to = row.hasKey ? "default" : "full";
    return fails(
      "the table has no replica identity",
      `alter table ${table} replica identity ${to};`,
    );
  }
  if (identity === "f") {
    if (listed === null) return null;
    return fails(
      "its column list does not go with replica identity full",
      row.hasKey ? `alter table ${table} replica identity default;` : addedAgain(row, null),
    );
  }
  if (filtered.some((column) => !identityColumns.includes(column)))
    return fails("its row filter uses other columns than the key", addedAgain(row, listed));
  if (listed && !identityColumns.every((column) => listed.includes(column)))
    return fails(
      "its column list lacks the key",
      addedAgain(row, [...new Set([...identityColumns, ...listed])]),
    );
  return null;
}

function addedAgain(
  { publication, table }: PublishedTable,
  columns: readonly string[] | null,
): string {
  const name = pg.escapeIdentifier(publication);
  const list =
    columns === null ? "" : ` (${columns.map((each) => pg.escapeIdentifier(each)).join(", ")})`;
  return `alter publication ${name} drop table ${table};\nalter publication ${name} add table ${table}${list};`;
}

function listVerdict(row: PublishedTable): Diagnosis[] {
  const { publication, table, coders, listed } = row;
  if (coders === null || listed === null) return [];
  return [
    {
      check: "publications",
      severity: "risk",
      problem: `publication ${publication} names columns of ${table}: a migration of Coder that drops or retypes one of them fails`,
      fix: addedAgain(row, null),
    },
  ];
}

function ourVerdict(tables: readonly PublishedTable[]): Diagnosis[] {
  const own = tables.filter(({ named, coders }) => named && isOurs(coders));
  const [first] = own;
  if (first === undefined) return [];
  const name = pg.escapeIdentifier(first.publication);
  const listed = own.filter((row) => row.listed !== null);
  const found: Diagnosis[] = own.flatMap((row) => widerVerdict(row));
  const note = (problem: string, fix: string): void =>
    void found.push({ check: "publication", severity: "note", problem, fix });
  const all = TABLES.map((table) => `${pg.escapeIdentifier(CODER_SCHEMA)}.${table}`).join(", ");
  if (listed.length > 0) {
    note(
      `publication ${first.publication} names columns of ${listed.map(({ table }) => table).join(", ")}: a migration of Coder that drops or retypes one of them fails while it is named`,
      `alter publication ${name} set table ${all}; -- or \`firstlight setup --whole-tables\`: no list, so secrets leave the server`,
    );
  }
  if (listed.length < own.length) {
    note(
      `publication ${first.publication} publishes whole tables: auth_token and provisioner_state leave the server, too`,
      `${altered(first.publication)} -- a named column can not be dropped or retyped while it is named`,
    );
  }
  return found;
}

function widerVerdict({ publication, table, coders, listed }: PublishedTable): Diagnosis[] {
  if (!isOurs(coders)) return [];
  const more = (listed ?? []).filter((column) => !PUBLISHED_COLUMNS[coders].includes(column));
  if (more.length === 0) return [];
  return [
    {
      check: "publication",
      severity: "risk",
      problem: `publication ${publication} names columns of ${table} that nobody needs: ${more.join(", ")} leave the server, and can not be dropped by a migration of Coder`,
      fix: altered(publication),
    },
  ];
}

const isOurs = (table: string | null): table is Table => TABLES.some((each) => each === table);

const asMade = (publication: string): string =>
  publicationSql({ publication, version: 150_000, wholeTables: false, schema: CODER_SCHEMA });

/** Puts the lists of `setup` in place of what is there, in one statement. */
function altered(publication: string): string {
  const [, ...lists] = asMade(publication).split("\n");
  const name = pg.escapeIdentifier(publication);
  return `alter publication ${name} set table\n${lists.slice(0, -1).join("\n")};`;
}

/** The findings of the requirements, with SQL where `serve` has words. Pure. */
export function publicationProblems(
  findings: readonly Finding[],
  publication: string,
  exists: boolean,
): Diagnosis[] {
  const by = "-- the owner of Coder's tables, on the primary, in Coder's database";
  const made = `${by}\n${asMade(publication)}`;
  const again = exists
    ? `${by}\ndrop publication ${pg.escapeIdentifier(publication)};\n${asMade(publication)}`
    : made;
  return problems(
    findings.map((finding) =>
      finding.check !== "publication" || finding.fix.startsWith("alter ")
        ? finding
        : { ...finding, fix: again },
    ),
  );
}
