// The publication: which columns leave the server, the SQL that creates it, and what an existing one really publishes.
//
// It is a matter of correctness: Postgres 18 silently skips the changes of a publication that is gone, and a column list
// beside another replica identity than the primary key makes Coder's own UPDATEs fail.

import pg from "pg";
import { type Table, TABLES } from "../change/row.ts";
import { must } from "../errors.ts";
import type { Session } from "./session.ts";

/** The schema in which Coder keeps its tables. */
export const CODER_SCHEMA = "public";

/**
 * The only columns that are published. Short and old, because a column that is named here can not be dropped or retyped by a
 * migration of Coder; without auth_token, provisioner_state, input, and everything else that nobody else should see.
 */
export const PUBLISHED_COLUMNS: Readonly<Record<Table, readonly string[]>> = {
  workspace_builds: [
    "id",
    "created_at",
    "workspace_id",
    "template_version_id",
    "build_number",
    "transition",
    "initiator_id",
    "job_id",
    "reason",
    "template_version_preset_id",
  ],
  provisioner_jobs: [
    "id",
    "created_at",
    "updated_at",
    "started_at",
    "canceled_at",
    "completed_at",
    "error",
    "error_code",
    "type",
    "provisioner",
    "initiator_id",
    "worker_id",
  ],
  workspace_agents: [
    "id",
    "created_at",
    "name",
    "first_connected_at",
    "last_connected_at",
    "disconnected_at",
    "resource_id",
    "parent_id",
    "lifecycle_state",
    "ready_at",
    "deleted",
  ],
};

/** What the output plugin of a server of this version is asked for, by a stream and by SQL alike. 13 knows text only. */
export function outputOptions(
  publication: string,
  version: number,
): Readonly<Record<string, string>> {
  return {
    proto_version: "1",
    publication_names: pg.escapeIdentifier(publication),
    ...(version >= 140_000 ? { binary: "true" } : {}),
  };
}

export interface PublicationOptions {
  readonly publication: string;
  /** `server_version_num`, e.g. 180004. Column lists exist from 150000 on. */
  readonly version: number;
  /** No column lists: publishes every column, secrets too, and never stands in the way of a migration of Coder. */
  readonly wholeTables: boolean;
  readonly schema: string;
}

/** The statement that creates the publication. For the owner of the tables, on the primary. */
export function publicationSql({
  publication,
  version,
  wholeTables,
  schema,
}: PublicationOptions): string {
  const lists = version >= 150_000 && !wholeTables;
  const tables = TABLES.map((table) => {
    const columns = lists ? ` (${PUBLISHED_COLUMNS[table].join(", ")})` : "";
    return `  ${pg.escapeIdentifier(schema)}.${table}${columns}`;
  });
  return [
    `create publication ${pg.escapeIdentifier(publication)} for table`,
    tables.join(",\n"),
    "with (publish = 'insert, update, delete, truncate');",
  ].join("\n");
}

/** Something that stands in the way of an exact count. */
export interface Finding {
  /** Which check found it, a stable word. */
  readonly check: string;
  readonly problem: string;
  /** What to do, as SQL, a setting or a sentence. */
  readonly fix: string;
}

export interface PublicationState {
  /** Changes when the publication, or one of its tables' entries, is changed or made again. Undefined: there is none. */
  readonly fingerprint: string | undefined;
  readonly findings: readonly Finding[];
}

/** One table of the publication, or one of ours that it lacks (`entry` null). */
interface TableState {
  readonly name: string;
  readonly ours: boolean;
  /** oid, xmin, column numbers and presence of a row filter of its pg_publication_rel row. */
  readonly entry: string | null;
  /** Published columns; null: no list, so all of them. */
  readonly columns: readonly string[] | null;
  readonly filtered: boolean;
  /** `d` default, `f` full, `n` nothing, `i` index. */
  readonly identity: string;
}

type PublicationRow = {
  readonly head: string | null;
  readonly everything: boolean;
  readonly publishes: readonly string[];
  readonly tables: readonly TableState[] | null;
};

// Column numbers in the fingerprint are as stored; xmin is the transaction that last wrote the row, also on a standby.
function stateSql(version: number): string {
  // From 15 on a publication may have whole schemas, lists of columns and row filters.
  const has = version >= 150_000;
  const columns = has ? "r.prattrs" : "null::int2vector";
  const filtered = has ? "r.prqual is not null" : "false";
  const schemas = has
    ? "exists (select from pg_catalog.pg_publication_namespace as n where n.pnpubid = p.oid)"
    : "false";
  return `
select p.oid || '/' || p.xmin as head,
       coalesce(p.puballtables, false)
         or ${schemas} as everything,
       array_remove(array[
         case when p.pubinsert then 'insert' end,
         case when p.pubupdate then 'update' end,
         case when p.pubdelete then 'delete' end], null) as publishes,
       (select json_agg(json_build_object(
                 'name', case when c.relnamespace = s.oid then c.relname else c.oid::regclass::text end,
                 'ours', c.relnamespace = s.oid and c.relname = any ($3),
                 'entry', c.oid::regclass || '/' || r.oid || '/' || r.xmin || '/' || coalesce(${columns}::text, '*') || '/' || (${filtered}),
                 'columns', (select json_agg(a.attname order by a.attnum) from pg_catalog.pg_attribute as a
                             where a.attrelid = c.oid and a.attnum = any (${columns})),
                 'filtered', ${filtered},
                 'identity', c.relreplident) order by c.relname, c.oid)
        from pg_catalog.pg_class as c
        left join pg_catalog.pg_publication_rel as r on r.prrelid = c.oid and r.prpubid = p.oid
        where r.oid is not null or (c.relnamespace = s.oid and c.relname = any ($3) and c.relkind in ('r', 'p'))
       ) as tables
from (select) as always
left join pg_catalog.pg_publication as p on p.pubname = $1
left join pg_catalog.pg_namespace as s on s.nspname = $2`;
}

/** Reads a publication and says what is wrong with it. Needs no privilege. */
export async function publicationState(
  session: Session,
  publication: string,
): Promise<PublicationState> {
  const rows = await session.query<PublicationRow>(stateSql(session.version), [
    publication,
    CODER_SCHEMA,
    TABLES,
  ]);
  const row = must(rows[0], "no publication state");
  const tables = row.tables ?? [];
  const entries = tables.flatMap(({ entry }) => entry ?? []);
  return {
    fingerprint:
      row.head === null ? undefined : [row.head, row.publishes.join(","), ...entries].join(" "),
    findings: [
      ...(row.head === null ? [missing(publication)] : publicationFindings(publication, row)),
      ...identities(tables),
    ],
  };
}

function missing(publication: string): Finding {
  return {
    check: "publication",
    problem: `there is no publication ${publication}`,
    fix: "run `firstlight setup` and have the owner of Coder's tables run its SQL on the primary",
  };
}

function publicationFindings(publication: string, row: PublicationRow): Finding[] {
  const name = pg.escapeIdentifier(publication);
  const again = `drop publication ${name}; then create it as \`firstlight setup\` prints it`;
  const finding = (problem: string, fix = again): Finding => ({
    check: "publication",
    problem: `publication ${publication} ${problem}`,
    fix,
  });
  if (row.everything) return [finding("publishes all tables, of the database or of a schema")];

  const findings: Finding[] = [];
  const unpublished = ["insert", "update", "delete"].filter(
    (operation) => !row.publishes.includes(operation),
  );
  if (unpublished.length > 0) {
    const fix = `alter publication ${name} set (publish = 'insert, update, delete, truncate');`;
    findings.push(finding(`does not publish ${unpublished.join(" and ")}`, fix));
  }
  const published = (row.tables ?? []).filter((table) => table.entry !== null);
  for (const table of TABLES) {
    const state = published.find(({ name: other, ours }) => ours && other === table);
    if (state === undefined) {
      findings.push(finding(`lacks table ${table}`));
      continue;
    }
    const { columns } = state;
    const lacking =
      columns === null
        ? []
        : PUBLISHED_COLUMNS[table].filter((column) => !columns.includes(column));
    if (lacking.length > 0)
      findings.push(finding(`lacks columns of ${table}: ${lacking.join(", ")}`));
    if (state.filtered)
      findings.push(finding(`has a row filter on ${table}, which can make Coder's UPDATEs fail`));
  }
  for (const { name: other } of published.filter(({ ours }) => !ours)) {
    findings.push(
      finding(
        `has table ${other}, which is not ours`,
        `alter publication ${name} drop table ${other};`,
      ),
    );
  }
  return findings;
}

function identities(tables: readonly TableState[]): Finding[] {
  return tables
    .filter(({ ours, identity }) => ours && identity !== "d")
    .map(({ name }) => ({
      check: "replica_identity",
      problem: `table ${name} has another replica identity than its primary key: with a column list, Coder's UPDATEs fail`,
      fix: `alter table ${CODER_SCHEMA}.${name} replica identity default;`,
    }));
}
