// `firstlight setup`: the SQL that prepares a database, in blocks headed by who runs it where; `--apply` runs the part that
// the connected user may. It never handles a password, and creates no slot: a slot that nobody follows fills the disk.

import pg from "pg";
import type { Config } from "../config.ts";
import { NeedsOperator, must } from "../errors.ts";
import { codeOf } from "../postgres/errors.ts";
import { CODER_SCHEMA, publicationSql, publicationState } from "../postgres/publication.ts";
import { grantSql, READ_COLUMNS, requireAll } from "../postgres/requirements.ts";
import { openSession, type Session } from "../postgres/session.ts";

const DEFAULT_ROLE = "firstlight";

export interface SetupOptions {
  readonly config: Pick<Config, "database" | "databaseConfigured" | "publication">;
  /** Run what the connected user may, instead of printing. */
  readonly apply: boolean;
  /** Publish whole tables instead of column lists. Default false. */
  readonly wholeTables?: boolean;
  /** The role that will follow. Default: the user of the database URL, else `firstlight`. */
  readonly role?: string;
  /** Takes text for standard output. */
  readonly out: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Prints the SQL, or applies it. Throws `NeedsOperator` with the block to run where a privilege is missing. */
export async function setup(options: SetupOptions): Promise<void> {
  const { config, apply, wholeTables = false, out, signal } = options;
  const { publication } = config;
  if (!apply) {
    const user = config.databaseConfigured ? (await config.database()).user : undefined;
    out(setupText({ publication, role: options.role ?? (user || DEFAULT_ROLE), wholeTables }));
    return;
  }
  await using session = await openSession(await config.database(), { signal });
  const [self] = await session.query<{ name: string }>("select current_user::text as name");
  const plan = { publication, role: options.role ?? must(self, "no user").name, wholeTables };
  await applyPublication(session, plan, out);
  await applyGrants(session, plan, out);
  await sayWhatIsLeft(session, plan, out);
}

export interface Plan {
  readonly publication: string;
  readonly role: string;
  readonly wholeTables: boolean;
}

/** What `setup` prints; with default names, the text of `sql/setup.sql`. */
export function setupText(plan: Plan): string {
  return [
    "-- Prepares Coder's database for Firstlight. The follower itself needs no more than this: a role that may replicate and",
    "-- read these columns. Mind that a role with REPLICATION can stream whatever any publication here publishes, and can",
    "-- read, advance and drop every slot: guard its password like that of a backup.",
    "",
    administratorBlock(plan),
    ownerBlock(plan),
  ].join("\n");
}

function administratorBlock({ role }: Plan): string {
  const name = pg.escapeIdentifier(role);
  return [
    "-- 1. An administrator, on the primary.",
    "--    wal_level takes effect at the next restart. Managed services have a switch of their own, e.g. rds.logical_replication",
    "--    on Amazon RDS (there also: grant rds_replication to the role) or cloudsql.logical_decoding on Google Cloud.",
    "alter system set wal_level = 'logical';",
    `create role ${name} with login replication;`,
    `--    Then give the role a password, e.g. in psql: \\password ${name}`,
    "",
  ].join("\n");
}

function ownerBlock(plan: Plan): string {
  const lists = plan.wholeTables
    ? ["--    Whole tables: every column leaves the server, auth_token and provisioner_state too."]
    : [
        "--    A listed column can not be dropped or retyped while it is listed; `setup --whole-tables` lists none.",
      ];
  return [
    "-- 2. The owner of Coder's tables (with the right to create in the database), on the primary, in Coder's database.",
    ...lists,
    publicationSql({ ...plan, version: 150_000, schema: CODER_SCHEMA }),
    "",
    "-- Of a job's input one key is read, which tells the claim of a prebuilt workspace, and of an agent how long it may take to connect.",
    "-- Neither is published.",
    ...grants(plan),
    "",
  ].join("\n");
}

function grants({ role }: Plan): string[] {
  const name = pg.escapeIdentifier(role);
  return [
    `grant usage on schema ${pg.escapeIdentifier(CODER_SCHEMA)} to ${name};`,
    ...Object.entries(READ_COLUMNS).map(([table, columns]) => grantSql(table, columns, name)),
  ];
}

type Out = SetupOptions["out"];

async function applyPublication(session: Session, plan: Plan, out: Out): Promise<void> {
  const { fingerprint, findings } = await publicationState(session, plan.publication);
  // Before anything is created: a column list beside another replica identity makes Coder's UPDATEs fail at once.
  requireAll(findings.filter(({ check }) => check === "replica_identity"));
  if (fingerprint === undefined) {
    const [server] = await session.query<{ version: number }>(
      "select current_setting('server_version_num')::int as version",
    );
    const { version } = must(server, "no server version");
    await asOwner(plan, () =>
      session.query(publicationSql({ ...plan, version, schema: CODER_SCHEMA })),
    );
    out(`created publication ${plan.publication}\n`);
    return;
  }
  if (findings.length === 0) {
    out(`publication ${plan.publication} is there already\n`);
    return;
  }
  throw new NeedsOperator(findings.map(({ problem }) => problem).join("; "), {
    reason: "publication",
    hint: [
      ...new Set(findings.map(({ fix }) => fix)),
      "what `setup` would create:",
      publicationSql({ ...plan, version: 150_000, schema: CODER_SCHEMA }),
    ].join("\n"),
  });
}

async function applyGrants(session: Session, plan: Plan, out: Out): Promise<void> {
  const known = await session.query("select from pg_catalog.pg_roles where rolname = $1", [
    plan.role,
  ]);
  if (known.length === 0) {
    const hint = administratorBlock(plan);
    throw new NeedsOperator(`there is no role ${plan.role} to grant to`, {
      reason: "role_missing",
      hint,
    });
  }
  if (await mayRead(session, plan.role)) {
    out(`role ${plan.role} may read all columns already\n`);
    return;
  }
  await asOwner(plan, async () => {
    for (const statement of grants(plan)) await session.query(statement);
  });
  // Whoever holds a privilege without the grant option gets a warning from Postgres, not an error.
  if (!(await mayRead(session, plan.role))) throw needsOwner(plan, undefined);
  out(`granted role ${plan.role} to read the columns that are needed\n`);
}

const MAY_READ_SQL = `
select pg_catalog.has_schema_privilege($1, $2, 'usage')
   and bool_and(pg_catalog.has_column_privilege($1, format('%I.%I', $2::text, wanted.table), wanted.column, 'select')) as readable
from unnest($3::text[], $4::text[]) as wanted ("table", "column")`;

async function mayRead(session: Session, role: string): Promise<boolean> {
  const columns = Object.entries(READ_COLUMNS).flatMap(([table, names]) =>
    names.map((column) => [table, column]),
  );
  const rows = await session.query<{ readable: boolean }>(MAY_READ_SQL, [
    role,
    CODER_SCHEMA,
    columns.map(([table]) => table),
    columns.map(([, column]) => column),
  ]);
  return must(rows[0], "no answer about privileges").readable;
}

/** wal_level and REPLICATION are not for the owner of a database to change. */
async function sayWhatIsLeft(session: Session, plan: Plan, out: Out): Promise<void> {
  const rows = await session.query<{ ready: boolean }>(
    `select current_setting('wal_level') = 'logical' and bool_or(rolsuper or rolreplication) as ready
     from pg_catalog.pg_roles where rolname = $1`,
    [plan.role],
  );
  if (must(rows[0], "no answer about the role").ready) return;
  out(
    `still to be done by an administrator, where it is not done yet:\n${administratorBlock(plan)}`,
  );
}

async function asOwner(plan: Plan, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw codeOf(error) === "42501" ? needsOwner(plan, error) : error;
  }
}

function needsOwner(plan: Plan, cause: unknown): NeedsOperator {
  return new NeedsOperator("this user may not prepare the database", {
    reason: "privileges",
    hint: ownerBlock(plan),
    cause,
  });
}
