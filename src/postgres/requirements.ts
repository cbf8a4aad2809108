// What a database must have before Firstlight can follow it. Each check is data: a query, a pure verdict on its rows, and in
// every finding the fix. `serve` refuses to start on a finding; `doctor` prints them all.

import pg from "pg";
import { NeedsOperator, must } from "../errors.ts";
import { TABLES } from "../change/row.ts";
import { READ_COLUMNS, grantSql } from "./grants.ts";
import { CODER_SCHEMA, type Finding, publicationState } from "./publication.ts";
import { openSession, type Session } from "./session.ts";

/** First start needs a temporary slot beside the permanent one, each with its own walsender. */
const SLOTS_NEEDED = 2;
const WALSENDERS_NEEDED = 2;

/** What is to be followed, and how to reach it. */
export interface Followed {
  readonly database: () => Promise<pg.ClientConfig>;
  readonly slot: string;
  readonly publication: string;
}

interface Subject {
  readonly session: Session;
  readonly config: Followed;
}

interface Check<R extends pg.QueryResultRow> {
  readonly name: string;
  readonly sql: string;
  readonly values?: (config: Followed) => readonly unknown[];
  /** What is wrong, with its fix; pure. */
  readonly verdict: (rows: readonly R[], config: Followed) => readonly Omit<Finding, "check">[];
}

/** Ties the type of a check's rows to its verdict, and hides it from the list of checks. */
function check<R extends pg.QueryResultRow>({ name, sql, values, verdict }: Check<R>) {
  return async ({ session, config }: Subject): Promise<Finding[]> => {
    const rows = await session.query<R>(sql, values?.(config));
    return verdict(rows, config).map((found) => ({ check: name, ...found }));
  };
}

const serverCheck = check<{ version: number; text: string; standby: boolean; feedback: string }>({
  name: "server",
  sql: `select current_setting('server_version_num')::int as version, current_setting('server_version') as text,
               pg_catalog.pg_is_in_recovery() as standby, current_setting('hot_standby_feedback') as feedback`,
  verdict([row]) {
    const { version, text, standby, feedback } = must(row, "no server version");
    if (version < 130_000) {
      return [
        {
          problem: `the server is Postgres ${text}`,
          fix: "upgrade to Postgres 13 or newer",
        },
      ];
    }
    if (standby && version < 160_000) {
      const fix = "follow the primary, or upgrade: a standby can decode from Postgres 16 on";
      return [{ problem: `the server is a standby of version ${text}`, fix }];
    }
    if (standby && feedback !== "on") {
      const fix =
        "alter system set hot_standby_feedback = on; select pg_reload_conf(); -- on the standby";
      return [
        {
          problem: "hot_standby_feedback is off: a vacuum on the primary would invalidate the slot",
          fix,
        },
      ];
    }
    return [];
  },
});

const serverChecks = [
  serverCheck,
  check<{ level: string; standby: boolean }>({
    name: "wal_level",
    sql: `select current_setting('wal_level') as level, pg_catalog.pg_is_in_recovery() as standby`,
    verdict([row]) {
      const { level, standby } = must(row, "no wal_level");
      if (level === "logical") return [];
      const where = standby
        ? " -- on the primary and on the standby; restart both, the primary first"
        : " -- then restart";
      return [
        {
          problem: `wal_level is ${level}`,
          fix: `alter system set wal_level = 'logical';${where}`,
        },
      ];
    },
  }),
  check<{ limit: number; used: number; exists: boolean }>({
    name: "slots",
    sql: `select current_setting('max_replication_slots')::int as limit, count(*)::int as used,
                 coalesce(bool_or(slot_name = $1), false) as exists
          from pg_catalog.pg_replication_slots`,
    values: ({ slot }) => [slot],
    verdict([row]) {
      const { limit, used, exists } = must(row, "no slot count");
      // A baseline over a slot that is there needs one more for a while; following does not, and must not be kept from it.
      if (exists) return [];
      const needed = SLOTS_NEEDED;
      if (limit - used >= needed) return [];
      return [
        {
          problem: `${used} of ${limit} replication slots are used, and ${needed} must be free`,
          fix: `alter system set max_replication_slots = ${used + needed}; -- then restart; or drop unused slots`,
        },
      ];
    },
  }),
  check<{ limit: number; used: number }>({
    name: "walsenders",
    sql: `select current_setting('max_wal_senders')::int as limit,
                 (select count(*)::int from pg_catalog.pg_stat_replication) as used`,
    verdict([row]) {
      const { limit, used } = must(row, "no walsender count");
      if (limit - used >= WALSENDERS_NEEDED) return [];
      return [
        {
          problem: `${used} of ${limit} walsenders are used, and ${WALSENDERS_NEEDED} must be free`,
          fix: `alter system set max_wal_senders = ${used + WALSENDERS_NEEDED}; -- then restart`,
        },
      ];
    },
  }),
];

type ColumnRow = {
  readonly table: string;
  readonly column: string;
  readonly table_exists: boolean;
  readonly column_exists: boolean;
  /** As `format_type` gives it, without modifiers; null where there is no such column. */
  readonly type: string | null;
  /** Whether its schema may be used. */
  readonly usable: boolean;
  readonly readable: boolean;
  readonly role: string;
};

const columns = Object.entries(READ_COLUMNS).flatMap(([table, names]) =>
  names.map((column) => ({ table, column })),
);

/** The type that a column of the published tables must have to be read; its own where any will do. */
function typeOf({ table, column, type }: ColumnRow): string | null {
  if (!(TABLES as readonly string[]).includes(table)) return type;
  if (column.endsWith("_at")) return "timestamp with time zone";
  return column === "id" || column.endsWith("_id") ? "uuid" : type;
}

const tablesCheck = check<ColumnRow>({
  name: "tables",
  sql: `select wanted.table, wanted.column, current_user as role,
               c.oid is not null as table_exists, a.attnum is not null as column_exists,
               pg_catalog.format_type(a.atttypid, null) as type,
               coalesce(pg_catalog.has_schema_privilege(c.relnamespace, 'usage'), false) as usable,
               coalesce(pg_catalog.has_column_privilege(c.oid, a.attnum, 'select'), false) as readable
        from unnest($1::text[], $2::text[]) with ordinality as wanted ("table", "column", position)
        left join pg_catalog.pg_namespace as s on s.nspname = $3
        left join pg_catalog.pg_class as c
          on c.relnamespace = s.oid and c.relname = wanted.table and c.relkind in ('r', 'p')
        left join pg_catalog.pg_attribute as a
          on a.attrelid = c.oid and a.attname = wanted.column and a.attnum > 0 and not a.attisdropped
        order by wanted.position`,
  values: () => [
    columns.map(({ table }) => table),
    columns.map(({ column }) => column),
    CODER_SCHEMA,
  ],
  verdict(rows) {
    const upgrade = "check that the URL names Coder's own database and that Coder is 2.24 or newer";
    return [...Map.groupBy(rows, (row) => row.table)].flatMap(([table, wanted]) => {
      if (wanted.some((row) => !row.table_exists))
        return [{ problem: `there is no table ${table}`, fix: upgrade }];
      const absent = wanted.filter((row) => !row.column_exists).map((row) => row.column);
      const there = wanted.filter((row) => row.column_exists);
      const hidden = there.filter((row) => !row.readable || !row.usable).map((row) => row.column);
      const unread = there.filter((row) => !row.readable).map((row) => row.column);
      const usable = wanted.every((row) => row.usable);
      const retyped = wanted.filter((row) => row.column_exists && row.type !== typeOf(row));
      const role = pg.escapeIdentifier(must(wanted[0], "no column").role);
      return [
        ...(absent.length === 0
          ? []
          : [{ problem: `table ${table} lacks ${absent.join(", ")}`, fix: upgrade }]),
        ...retyped.map((row) => ({
          problem: `table ${table} has ${row.column} as ${row.type}, which can not be read; it was ${typeOf(row)}`,
          fix: upgrade,
        })),
        ...(hidden.length === 0
          ? []
          : [
              {
                problem: `${table}: no right to read ${hidden.join(", ")}`,
                fix: [
                  ...(usable
                    ? []
                    : [`grant usage on schema ${pg.escapeIdentifier(CODER_SCHEMA)} to ${role};`]),
                  ...(unread.length === 0 ? [] : [grantSql(table, unread, role)]),
                ].join(" "),
              },
            ]),
      ];
    });
  },
});

async function checkRole({ session, config }: Subject): Promise<Finding[]> {
  const rows = await session.query<{ name: string; allowed: boolean }>(
    "select rolname as name, rolsuper or rolreplication as allowed from pg_catalog.pg_roles where rolname = current_user",
  );
  const { name, allowed } = must(rows[0], "no role");
  // Managed services give the right by other means (a membership, a patched server), so the catalog's no is tried.
  if (allowed || (await mayReplicate(config, session.lost))) return [];
  const fix = `alter role ${pg.escapeIdentifier(name)} with replication; -- on Amazon RDS: grant rds_replication to …`;
  return [{ check: "role", problem: `role ${name} may not replicate`, fix }];
}

async function mayReplicate(config: Followed, signal: AbortSignal): Promise<boolean> {
  // `replication` is missing from the types of `pg`.
  const replication: pg.ClientConfig & { replication: string } = {
    ...(await config.database()),
    replication: "database",
  };
  try {
    await using session = await openSession(replication, { signal });
    await session.query("IDENTIFY_SYSTEM");
    return true;
  } catch (error) {
    if (error instanceof NeedsOperator && error.reason === "privileges") return false;
    throw error;
  }
}

async function checkPublication({ session, config }: Subject): Promise<readonly Finding[]> {
  return (await publicationState(session, config.publication)).findings;
}

/** Runs every check and gives all findings; none: the database can be followed. */
export async function checkRequirements(session: Session, config: Followed): Promise<Finding[]> {
  const subject: Subject = { session, config };
  const findings: Finding[] = [];
  for (const run of serverChecks) findings.push(...(await run(subject)));
  // The catalogs that the other checks read are those of 13 and newer.
  if (findings.some(({ check: name }) => name === "server")) return findings;
  for (const run of [checkRole, tablesCheck, checkPublication])
    findings.push(...(await run(subject)));
  return findings;
}

/** What reading the tables alone needs: no more than the right to. On any server, of any version that Coder runs on. */
export async function checkReading(session: Session, config: Followed): Promise<Finding[]> {
  return tablesCheck({ session, config });
}

/** What replaying a slot that is there needs, and looking up beside it: neither a walsender nor a permanent slot. */
export async function checkReplaying(session: Session, config: Followed): Promise<Finding[]> {
  const subject: Subject = { session, config };
  const findings = await serverCheck(subject);
  if (findings.length > 0) return findings;
  for (const run of [checkRole, tablesCheck, checkPublication])
    findings.push(...(await run(subject)));
  return findings;
}

/** Throws `NeedsOperator` with every problem in its message and every fix in its hint, if there is a finding. */
export function requireAll(findings: readonly Finding[], done = "followed yet"): void {
  if (findings.length === 0) return;
  throw new NeedsOperator(
    `the database can not be ${done}: ${findings.map(({ problem }) => problem).join("; ")}`,
    {
      reason: "requirements",
      hint: [...new Set(findings.map(({ fix }) => fix))].join("\n"),
    },
  );
}
