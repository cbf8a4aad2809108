// A database of its own for each test: cloned from the template with Coder's schema, removed with its slots at the end.

import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { inject } from "vitest";

const DROP_DEADLINE_MS = 10_000;

export interface TestDatabase extends AsyncDisposable {
  /** A superuser's URL of this database. */
  readonly url: string;
  readonly name: string;
  /** The URL of this database for another role. */
  urlAs(role: string, password?: string): string;
  /** A connected client as superuser; ended with the database at the latest. */
  client(): Promise<pg.Client>;
}

export interface CreateOptions {
  /** `coder`: the tables of Coder, no rows. `empty`: no table. Default `coder`. */
  readonly content?: "coder" | "empty";
}

let created = 0;

/** Creates a database on the shared server. */
export async function createDatabase(options: CreateOptions = {}): Promise<TestDatabase> {
  const server = inject("postgresUrl");
  const name = `test_${process.pid}_${++created}`;
  const template = options.content === "empty" ? "template0" : inject("postgresTemplate");
  await asAdmin(server, (admin) => admin.query(`create database ${name} template ${template}`));
  const url = withDatabase(server, name);
  const clients: pg.Client[] = [];
  return {
    url,
    name,
    urlAs: (role, password) => urlAs(url, role, password),
    async client() {
      const client = new pg.Client(url);
      // A test that stops the server or the backend expects the loss; pending queries still reject.
      client.on("error", () => {});
      await client.connect();
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.end()));
      await asAdmin(server, async (admin) => {
        await dropSlots(admin, name);
        await admin.query(`drop database ${name} with (force)`);
      });
    },
  };
}

/** The same database for another role. */
export function urlAs(url: string, role: string, password = ""): string {
  const other = new URL(url);
  other.username = role;
  other.password = password;
  return other.href;
}

async function asAdmin<T>(url: string, work: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client(url);
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}

/** A slot stays active for a moment after its client has left, so dropping is retried until the deadline. */
async function dropSlots(admin: pg.Client, database: string): Promise<void> {
  const deadline = Date.now() + DROP_DEADLINE_MS;
  for (;;) {
    const { rows } = await admin.query<{ slot_name: string; active_pid: number | null }>(
      "select slot_name, active_pid from pg_replication_slots where database = $1",
      [database],
    );
    if (rows.length === 0) return;
    if (Date.now() > deadline) {
      throw new Error(
        `slots of ${database} are still held: ${rows.map((row) => row.slot_name).join(", ")}`,
      );
    }
    for (const { slot_name, active_pid } of rows) await dropSlot(admin, slot_name, active_pid);
  }
}

async function dropSlot(admin: pg.Client, name: string, holder: number | null): Promise<void> {
  try {
    if (holder !== null) await admin.query("select pg_terminate_backend($1)", [holder]);
    await admin.query("select pg_drop_replication_slot($1)", [name]);
  } catch (error) {
    // 55006: held by a walsender that is still leaving; 42704: a temporary slot that left with its session.
    if (!(error instanceof pg.DatabaseError) || !["55006", "42704"].includes(error.code ?? ""))
      throw error;
    await sleep(20);
  }
}

function withDatabase(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${database}`;
  return other.href;
}
