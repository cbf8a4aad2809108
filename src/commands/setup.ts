// `firstlight setup`: the SQL that prepares a database, in blocks headed by who runs it where; `--apply` runs the part that
// the connected user may. It never handles a password, and creates a slot only when asked: one that nobody follows fills the disk.

import { type Config, type RawFlags, UsageError } from "../config.ts";
import { NeedsOperator, must } from "../errors.ts";
import { codeOf } from "../postgres/errors.ts";
import { CODER_SCHEMA, publicationState } from "../postgres/publication.ts";
import { READ_COLUMNS, grants } from "../postgres/grants.ts";
import { requireAll } from "../postgres/requirements.ts";
import { openSession, type Session } from "../postgres/session.ts";
import { readSlot } from "../postgres/slot.ts";
import { PROVIDERS, type ProviderName } from "./setup/providers.ts";
import {
  administratorBlock,
  createPublication,
  ownerBlock,
  type Plan,
  setupText,
  slotBlock,
  slotSql,
} from "./setup/text.ts";

const DEFAULT_ROLE = "firstlight";

export interface SetupOptions {
  readonly config: Pick<Config, "database" | "databaseConfigured" | "publication" | "slot">;
  /** Run what the connected user may, instead of printing. */
  readonly apply: boolean;
  /** Publish whole tables instead of column lists. Default false. */
  readonly wholeTables?: boolean;
  /** The role that will follow. Default: the user of the database URL, else `firstlight`. */
  readonly role?: string | undefined;
  /** The service that runs the database. Default: none, a server of one's own. */
  readonly provider?: ProviderName | undefined;
  /** Create the permanent slot, too. Default false. */
  readonly withSlot?: boolean;
  /** Takes text for standard output. */
  readonly out: (text: string) => void;
  readonly signal: AbortSignal;
}

/** The flags that are words. Throws `UsageError`. */
export function parseSetupFlags(flags: RawFlags): Pick<SetupOptions, "role" | "provider"> {
  const { role, provider } = flags;
  const known = PROVIDERS.find((name) => name === provider);
  if (provider !== undefined && known === undefined) {
    throw new UsageError([
      `--provider ${JSON.stringify(provider)}: must be one of ${PROVIDERS.join(", ")}`,
    ]);
  }
  return { role: role === undefined ? undefined : String(role), provider: known };
}

/** Prints the SQL, or applies it. Throws `NeedsOperator` with the block to run where a privilege is missing. */
export async function setup(options: SetupOptions): Promise<void> {
  const { config, apply, wholeTables = false, provider, withSlot = false, out, signal } = options;
  const { publication } = config;
  const common = { publication, wholeTables, provider, slot: withSlot ? config.slot : undefined };
  const { user, database } = config.databaseConfigured ? await config.database() : {};
  if (!apply) {
    const role = options.role ?? (user || DEFAULT_ROLE);
    out(setupText({ ...common, role, database: database || undefined }));
    return;
  }
  await using session = await openSession(await config.database(), { signal });
  const [self] = await session.query<{ name: string; version: number; database: string }>(
    `select current_user::text as name, current_setting('server_version_num')::int as version,
            pg_catalog.current_database() as database`,
  );
  const { name, ...server } = must(self, "no user");
  const plan: Plan = { ...common, ...server, role: options.role ?? name };
  await applyPublication(session, plan, out);
  await applyGrants(session, plan, out);
  if (plan.slot !== undefined) await applySlot(session, plan.slot, out);
  await sayWhatIsLeft(session, plan, out);
}

type Out = SetupOptions["out"];

async function applyPublication(session: Session, plan: Plan, out: Out): Promise<void> {
  const { fingerprint, findings } = await publicationState(session, plan.publication);
  // Before anything is created: a column list beside another replica identity makes Coder's UPDATEs fail at once.
  requireAll(findings.filter(({ check }) => check === "replica_identity"));
  if (fingerprint === undefined) {
    await asOwner(plan, () => session.query(createPublication(plan)));
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
      createPublication(plan),
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
    for (const statement of grants(plan.role)) await session.query(statement);
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

async function applySlot(session: Session, slot: string, out: Out): Promise<void> {
  if ((await readSlot(session, slot)) !== null) {
    out(`slot ${slot} is there already\n`);
    return;
  }
  try {
    await session.query(slotSql(slot));
  } catch (error) {
    if (!(error instanceof NeedsOperator)) throw error;
    const hint = `${error.hint}\n${slotBlock(slot)}`;
    throw new NeedsOperator(error.message, { reason: error.reason, hint, cause: error });
  }
  out(`created slot ${slot}: the server keeps all WAL from here on until \`serve\` reads it\n`);
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
