// Creates the simulated Coder database: runs `schema.sql` on an empty database.

import { readFile } from "node:fs/promises";
import type { Client } from "pg";

const FILE = new URL("../schema.sql", import.meta.url);

/** Creates Coder's ten tables in schema `public`, in one transaction. Throws Postgres' error if any of them exists. */
export async function createCoderSchema(client: Client): Promise<void> {
  // One message is one implicit transaction.
  await client.query(await readFile(FILE, "utf8"));
}
