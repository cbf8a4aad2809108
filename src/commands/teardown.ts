// `firstlight teardown`: takes away what `setup` and `serve` made in a database: slot, publication, grants. It prints the SQL in
// blocks headed by who runs it where; `--apply` runs what the connected user may and says what is left. The role itself, and
// its password, are the administrator's.
//
// It drops nothing that somebody uses, and takes nothing from whoever owns Coder's tables: a REVOKE from the owner would stop
// Coder. For the same reason it never says DROP OWNED.

import pg from "pg";
import type { Config } from "../config.ts";
import { NeedsOperator, Transient, must } from "../errors.ts";
import { codeOf } from "../postgres/errors.ts";
import { CODER_SCHEMA } from "../postgres/publication.ts";
import { READ_COLUMNS } from "../postgres/grants.ts";
import { openSession, type Session } from "../postgres/session.ts";
import { dropSlot, readSlot } from "../postgres/slot.ts";
import { requireSlotLock } from "../postgres/slot-lock.ts";

/** Never guessed from the URL: whoever connects may own everything. */
const DEFAULT_ROLE = "firstlight";

export interface TeardownOptions {
  readonly config: Pick<Config, "database" | "publication" | "slot">;
  /** Run what the connected user may, instead of printing. */
  readonly apply: boolean;
  /** The role that followed. Default `firstlight`. */
  readonly role?: string | undefined;
  /** Takes text for standard output. */
  readonly out: (text: string) => void;
  readonly signal: AbortSignal;
}

interface Removal {
  readonly publication: string;
  readonly slot: string;
  readonly role: string;
}

/** Prints the SQL, or applies it. Throws `NeedsOperator` while the slot is in use, and with the blocks that this user may not run. */
export async function teardown(options: TeardownOptions): Promise<void> {
  const { config, apply, role = DEFAULT_ROLE, out, signal } = options;
  const removal: Removal = { publication: config.publication, slot: config.slot, role };
  if (!apply) {
    out(teardownText(removal));
    return;
  }
  await using session = await openSession(await config.database(), { signal });
  // Everything that could refuse is asked before anything is dropped.
  const slot = await slotToDrop(session, removal.slot);
  const left: string[] = [];
  if (slot) await removeSlot(session, removal, { out, left });
  else out(`there is no slot ${removal.slot} on this server\n`);
  await removePublication(session, removal, { out, left });
  const exists = await removeGrants(session, removal, { out, left });
  if (left.length > 0) {
    throw new NeedsOperator("not everything could be removed by this user, on this server", {
      reason: "privileges",
      hint: left.join("\n"),
    });
  }
  if (exists) out(`still to be done by an administrator:\n${roleBlock(removal)}`);
}

/** With default names, the text of `sql/teardown.sql`. */
export function teardownText(removal: Removal): string {
  return [
    "-- Removes what Firstlight made in Coder's database. The order matters: stop Firstlight first, or it takes the loss of its slot",
    "-- for a gap and makes a new one; drop the slot before the publication, for a stream without its publication fails or skips.",
    "",
    slotBlock(removal),
    ownerBlock(removal),
    roleBlock(removal),
  ].join("\n");
}

function slotBlock({ slot }: Removal): string {
  return [
    "-- 1. As the role that followed, or as administrator, on the server that was followed (the standby, if it was one).",
    "--    From here on the server need not keep WAL for it. While somebody reads the slot, this fails and nothing is lost.",
    "select pg_catalog.pg_drop_replication_slot(slot_name)",
    "from pg_catalog.pg_replication_slots",
    `where slot_name = ${pg.escapeLiteral(slot)};`,
    "",
  ].join("\n");
}

function ownerBlock(removal: Removal): string {
  return [
    "-- 2. As owner of Coder's tables, on the primary, in Coder's database.",
    `${publicationSql(removal)};`,
    ...revokes(removal).map((statement) => `${statement};`),
    "",
  ].join("\n");
}

function roleBlock({ role }: Removal): string {
  return [
    "-- 3. As administrator, on the primary. Fails while the role owns or may do anything yet, which is as it should be. A role that",
    "--    an operator or a console manages goes there, or it comes back. wal_level may stay as it is; so may pg_hba.conf, but",
    "--    its lines for the role are of no more use.",
    `drop role ${pg.escapeIdentifier(role)};`,
    "",
  ].join("\n");
}

const publicationSql = ({ publication }: Removal): string =>
  `drop publication if exists ${pg.escapeIdentifier(publication)}`;

/** Of a table's privileges, those of its columns go with them. */
function revokes({ role }: Removal): readonly string[] {
  const name = pg.escapeIdentifier(role);
  const schema = pg.escapeIdentifier(CODER_SCHEMA);
  return [
    ...Object.keys(READ_COLUMNS).map((table) => `revoke select on ${schema}.${table} from ${name}`),
    `revoke usage on schema ${schema} from ${name}`,
  ];
}

interface Report {
  readonly out: TeardownOptions["out"];
  /** Blocks for somebody else. */
  readonly left: string[];
}

/** False: there is none. Throws `NeedsOperator` where it is somebody else's, or in use. */
async function slotToDrop(session: Session, name: string): Promise<boolean> {
  const slot = await readSlot(session, name);
  if (typeof slot?.activePid === "number")
    throw inUse(`the slot ${name} is read by process ${slot.activePid} of the server`);
  try {
    // Between two bursts nobody holds the slot, but this. We keep it, so that nobody begins meanwhile.
    await requireSlotLock(session, name);
  } catch (error) {
    throw error instanceof Transient && error.reason === "slot_in_use"
      ? inUse(error.message)
      : error;
  }
  return slot !== null;
}

function inUse(problem: string): NeedsOperator {
  return new NeedsOperator(problem, {
    reason: "slot_in_use",
    hint: "nothing was removed: stop Firstlight first (it would make a new slot at once), then run this again",
  });
}

async function removeSlot(session: Session, removal: Removal, { out, left }: Report) {
  const done = await permitted(() => dropSlot(session, removal.slot));
  if (done) out(`dropped slot ${removal.slot}\n`);
  else left.push(slotBlock(removal));
}

async function removePublication(session: Session, removal: Removal, { out, left }: Report) {
  const { publication } = removal;
  const found = await session.query("select from pg_catalog.pg_publication where pubname = $1", [
    publication,
  ]);
  if (found.length === 0) {
    out(`there is no publication ${publication}\n`);
    return;
  }
  const done = await permitted(() => session.query(publicationSql(removal)));
  if (done) out(`dropped publication ${publication}\n`);
  else left.push(ownerBlock(removal));
}

/** What the role was granted on Coder's tables and their schema, by name; and what it is. */
const GRANTED = `
select role.rolsuper
    or exists (select from pg_catalog.pg_class as c where c.relnamespace = s.oid and c.relkind in ('r', 'p') and c.relowner = role.oid)
    or s.nspowner = role.oid as owns,
  exists (
    select from pg_catalog.pg_class as c, pg_catalog.aclexplode(c.relacl) as acl
    where c.relnamespace = s.oid and c.relname = any ($3) and acl.grantee = role.oid
    union all
    select from pg_catalog.pg_class as c
      join pg_catalog.pg_attribute as a on a.attrelid = c.oid, pg_catalog.aclexplode(a.attacl) as acl
    where c.relnamespace = s.oid and c.relname = any ($3) and acl.grantee = role.oid
    union all
    select from pg_catalog.aclexplode(s.nspacl) as acl where acl.grantee = role.oid
  ) as granted
from pg_catalog.pg_roles as role, pg_catalog.pg_namespace as s
where role.rolname = $1 and s.nspname = $2`;

async function grantedTo(session: Session, role: string) {
  const rows = await session.query<{ owns: boolean; granted: boolean }>(GRANTED, [
    role,
    CODER_SCHEMA,
    Object.keys(READ_COLUMNS),
  ]);
  return rows[0];
}

/** True: the role is there yet. */
async function removeGrants(session: Session, removal: Removal, { out, left }: Report) {
  const { role } = removal;
  const before = await grantedTo(session, role);
  if (before === undefined) {
    out(`there is no role ${role}; name another one with --role\n`);
    return false;
  }
  if (before.owns) {
    out(`role ${role} is a superuser, or owns tables of this database: nothing is taken from it\n`);
    return false;
  }
  if (!before.granted) {
    out(`role ${role} has no grants here\n`);
    return true;
  }
  await permitted(async () => {
    for (const statement of revokes(removal)) await session.query(statement);
  });
  // Whoever may not revoke gets a warning from Postgres, not an error.
  if (must(await grantedTo(session, role), "the role went away").granted) {
    if (!left.includes(ownerBlock(removal))) left.push(ownerBlock(removal));
  } else out(`revoked what role ${role} was granted\n`);
  return true;
}

/** False: this user, or a standby, may not. */
async function permitted(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (["42501", "25006"].includes(codeOf(error) ?? "")) return false;
    throw error;
  }
}
