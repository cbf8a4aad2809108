// What `setup` prints: SQL in blocks headed by who runs it where. Everything that is not SQL is a comment, so that a block can be
// given to psql as it is. No password is printed or asked for.

import pg from "pg";
import { CODER_SCHEMA, publicationSql } from "../../postgres/publication.ts";
import { grants } from "../../postgres/grants.ts";
import { type ProviderName, providerOf } from "./providers.ts";

export interface Plan {
  readonly publication: string;
  /** The role that follows. */
  readonly role: string;
  readonly wholeTables: boolean;
  /** Coder's database, for pg_hba.conf. Default `coder`. */
  readonly database?: string | undefined;
  /** Default: a server of one's own. */
  readonly provider?: ProviderName | undefined;
  /** The permanent slot to create. Default: none. */
  readonly slot?: string | undefined;
  /** `server_version_num` if it is known. Default: one that knows column lists. */
  readonly version?: number | undefined;
}

/** From here on a publication can name columns. */
const COLUMN_LISTS = 150_000;

/** With default names, the text of `sql/setup.sql`. */
export function setupText(plan: Plan): string {
  return [
    "-- Prepares Coder's database for Firstlight. The follower itself needs no more than this: a role that may replicate and",
    "-- read these columns. Mind that a role with REPLICATION can copy the whole server, whatever it was granted, and can read,",
    "-- advance and drop every slot: guard its password like that of a backup (docs/security.md).",
    "",
    administratorBlock(plan),
    ownerBlock(plan),
    standbyBlock(plan),
    ...(plan.slot === undefined ? [] : [slotBlock(plan.slot)]),
  ].join("\n");
}

const namesOf = ({ role, database = "coder" }: Plan) => ({ role, database });

export function administratorBlock(plan: Plan): string {
  const provider = providerOf(plan.provider);
  const where = provider.title === "" ? "" : ` (${provider.title})`;
  const names = namesOf(plan);
  return [
    `-- 1. As administrator, on the primary${where}.`,
    ...provider.decoding,
    ...provider.role(names),
    ...provider.access(names),
    ...provider.limit,
    "",
  ].join("\n");
}

export function ownerBlock(plan: Plan): string {
  const lists = plan.wholeTables
    ? ["--    Whole tables: every column leaves the server, auth_token and provisioner_state too."]
    : [
        "--    A listed column can not be dropped or retyped while it is listed. If a migration of Coder fails for that: drop the",
        "--    publication, migrate, create it again as below. `setup --whole-tables` lists none.",
      ];
  return [
    "-- 2. As owner of Coder's tables (with the right to create in the database), on the primary, in Coder's database.",
    ...lists,
    createPublication(plan),
    "",
    "-- Of a job's input one key is read, which tells the claim of a prebuilt workspace, and of an agent how long it may take to connect.",
    "-- Neither is published.",
    ...grants(plan.role),
    "",
  ].join("\n");
}

function standbyBlock(plan: Plan): string {
  return [
    "-- 3. As administrator, on the standby, if Firstlight follows one (Postgres 16 or newer).",
    ...providerOf(plan.provider).standby,
    "",
  ].join("\n");
}

export function slotBlock(slot: string): string {
  return [
    "-- 4. As the role that follows, in Coder's database, on the server that is followed. Last, and only if `serve` starts soon: from",
    "--    here on the server keeps all WAL, and dead rows of its catalog, until somebody reads the slot. `serve` makes its slot",
    "--    by itself; this is for who wants to see it made. To be rid of it: select pg_drop_replication_slot(…);",
    `${slotSql(slot)};`,
    "",
  ].join("\n");
}

/** Creates the permanent slot. */
export function slotSql(slot: string): string {
  return `select pg_catalog.pg_create_logical_replication_slot(${pg.escapeLiteral(slot)}, 'pgoutput')`;
}

export function createPublication(plan: Plan): string {
  const version = plan.version ?? COLUMN_LISTS;
  return publicationSql({ ...plan, version, schema: CODER_SCHEMA });
}
