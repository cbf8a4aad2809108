// A database with hand-made rows on the shared server, a slot name and a store of its own, and what the server says of slots.

import type pg from "pg";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { ownServer } from "../../crash/support/own-server.ts";
import { type TestDatabase, createDatabase } from "../../support/database.ts";
import {
  type InProcess,
  type StartOptions,
  publish,
  uniqueSlot,
  until,
} from "../../support/firstlight.ts";
import { HandMade } from "../../support/hand-made.ts";
import { troubleOf } from "../../standby/support/site.ts";

/** The longest back-off, and what healing takes. */
export const RECOVERS_WITHIN_MS = 50_000;

export interface Scene {
  readonly database: Pick<TestDatabase, "url" | "client">;
  readonly client: pg.Client;
  readonly made: HandMade;
  readonly target: StartOptions & { readonly slot: string; readonly statePath: string };
}

export async function scene(check: (scene: Scene) => Promise<void>): Promise<void> {
  await using database = await createDatabase();
  await publish(await database.client());
  await sceneIn(database, check);
}

/** On a server of its own: where WAL that a neighbour writes would count. */
export async function sceneAlone(check: (scene: Scene) => Promise<void>): Promise<void> {
  await using server = await ownServer();
  await sceneIn(server, check);
}

async function sceneIn(
  database: Scene["database"],
  check: (scene: Scene) => Promise<void>,
): Promise<void> {
  await using folder = await temporaryFolder();
  const client = await database.client();
  const made = await HandMade.on(client);
  const target = { url: database.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  await check({ database, client, made, target });
}

export async function waitForTrouble(firstlight: InProcess, reason: string): Promise<void> {
  await until(
    `trouble ${reason}`,
    async () => (await troubleOf(firstlight)).reason === reason,
    RECOVERS_WITHIN_MS,
  );
}

export async function slotsHere(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ slot_name: string }>(
    "select slot_name from pg_replication_slots where database = current_database()",
  );
  return rows.map(({ slot_name }) => slot_name);
}

/** Waits until nobody holds the slot: a walsender stays for a moment after its client has left. */
export async function released(client: pg.Client, slot: string): Promise<void> {
  await until(`nobody holds ${slot}`, async () => {
    const { rows } = await client.query(
      "select from pg_replication_slots where slot_name = $1 and active_pid is not null",
      [slot],
    );
    return rows.length === 0;
  });
}

/** Ends the connection that holds the slot, as a DBA would. */
export async function cut(client: pg.Client, slot: string): Promise<void> {
  await client.query(
    "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1",
    [slot],
  );
}

/** Writes WAL that holds no news: more than `FIRSTLIGHT_MAX_SLOT_LAG` where that is 1 MB. */
export async function writeFiller(client: pg.Client): Promise<void> {
  await client.query("select pg_logical_emit_message(true, 'filler', repeat('x', 4000000))");
}
