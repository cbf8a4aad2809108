// The server of the comparisons: a deployment, the same tables published in three ways, and a role for each competitor, by
// which its server processes are told apart.

import pg from "pg";
import { CODER_SCHEMA, publicationSql } from "../../../src/postgres/publication.ts";
import { READ_COLUMNS, grantSql } from "../../../src/postgres/grants.ts";
import { type Lsn, parseLsn } from "../../../src/lsn.ts";
import { must } from "../../../src/errors.ts";
import { until } from "../../support/firstlight.ts";
import { openDeployment } from "../../scale/deployment.ts";

/** `firstlight`: our column lists. `whole`: all columns of the three tables. `nothing`: a table that is never written. */
export type Published = "firstlight" | "whole" | "nothing";

export interface Bed extends AsyncDisposable {
  /** A superuser's URL. */
  readonly url: string;
  /** A superuser's session, for one thing at a time. */
  readonly admin: pg.Client;
  /** Another one; ends with the bed. */
  connect(): Promise<pg.Client>;
  /** Creates a role that may follow, and returns its URL. */
  addRole(name: string): Promise<string>;
  /** Server processes of a role, walsenders too. */
  backends(role: string): Promise<number[]>;
  /** End of the WAL that is flushed. */
  position(): Promise<Lsn>;
  addSlot(name: string): Promise<void>;
  /** Makes `name` a copy of another slot, position and all. */
  copySlot(from: string, name: string): Promise<void>;
  /** Waits for whoever holds it to be gone. Does nothing when there is none. */
  dropSlot(name: string): Promise<void>;
}

/** Beside the deployment: what nobody publishes but everybody's server writes. */
const TABLES = `
create table unwatched (id int primary key, at timestamptz, payload text);
insert into unwatched select n, now(), repeat('x', 200) from generate_series(1, 1000) as n;
create table quiet (id int primary key);
create publication nothing for table quiet;`;

/** Nothing else shall want the two cores while something is measured. */
const SETTINGS = ["checkpoint_timeout = '1h'", "autovacuum = off", "wal_sender_timeout = 0"];

/** Starts a server with a deployment of this many workspaces, ten builds and five agents for each. */
export async function openBed(workspaces: number): Promise<Bed> {
  await using stack = new AsyncDisposableStack();
  const deployment = stack.use(await openDeployment(workspaces));
  const admin = deployment.client;
  // For short questions, several at a time.
  const pool = new pg.Pool({ connectionString: deployment.url, max: 4 });
  pool.on("error", () => undefined); // the server is stopped after an error elsewhere
  stack.defer(async () => pool.end());
  await admin.query(TABLES);
  await admin.query(
    publicationSql({
      publication: "whole",
      version: 180_000,
      wholeTables: true,
      schema: CODER_SCHEMA,
    }),
  );
  for (const setting of SETTINGS) await admin.query(`alter system set ${setting}`);
  await admin.query("select pg_reload_conf()");
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client(deployment.url);
    client.on("error", () => undefined);
    await client.connect();
    owned.defer(async () => client.end());
    return client;
  };
  const owned = stack.move();
  return {
    url: deployment.url,
    admin,
    connect,
    ...roles(pool, deployment.url),
    ...slots(pool),
    [Symbol.asyncDispose]: async () => owned.disposeAsync(),
  };
}

function roles(pool: pg.Pool, url: string): Pick<Bed, "addRole" | "backends"> {
  return {
    async addRole(name) {
      const role = pg.escapeIdentifier(name);
      await pool.query(`create role ${role} with login replication`);
      await pool.query(`grant usage on schema ${CODER_SCHEMA} to ${role}`);
      for (const [table, columns] of Object.entries(READ_COLUMNS)) {
        await pool.query(grantSql(table, columns, role));
      }
      const own = new URL(url);
      own.username = name;
      return own.href;
    },
    async backends(role) {
      const { rows } = await pool.query<{ pid: number }>(
        "select pid from pg_stat_activity where usename = $1",
        [role],
      );
      return rows.map(({ pid }) => pid);
    },
  };
}

type Slots = Pick<Bed, "position" | "addSlot" | "copySlot" | "dropSlot">;

function slots(pool: pg.Pool): Slots {
  return {
    async position() {
      const { rows } = await pool.query<{ lsn: string }>(
        "select pg_current_wal_flush_lsn()::text as lsn",
      );
      return parseLsn(must(rows[0], "no position").lsn);
    },
    async addSlot(name) {
      await pool.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
    },
    async copySlot(from, name) {
      await pool.query("select pg_copy_logical_replication_slot($1, $2)", [from, name]);
    },
    async dropSlot(name) {
      const free = async (): Promise<boolean> => {
        const { rows } = await pool.query<{ active: boolean }>(
          "select active from pg_replication_slots where slot_name = $1",
          [name],
        );
        return rows[0]?.active !== true;
      };
      await until(`slot ${name} is free`, free);
      await pool.query(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1",
        [name],
      );
    },
  };
}
