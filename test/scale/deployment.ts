// A server of its own with a deployment of any size, made inside the server by deployment.sql.

import { readFile } from "node:fs/promises";
import pg from "pg";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { startServer } from "../../src/demo/server.ts";
import { publish } from "../support/firstlight.ts";

const ROWS = new URL("deployment.sql", import.meta.url);

export interface Deployment extends AsyncDisposable {
  /** A superuser's URL of the database. */
  readonly url: string;
  readonly client: pg.Client;
}

/** `workspaces`, ten times as many builds, five times as many agents: 100,000 take two minutes and 2 GB of disk. */
export async function openDeployment(workspaces: number): Promise<Deployment> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(
    await startServer({
      settings: {
        fsync: "off",
        full_page_writes: "off",
        max_wal_size: "8GB",
        // Tables that have been read lie in memory, as on a server that is in use.
        shared_buffers: "512MB",
      },
    }),
  );
  const connect = async (database: string): Promise<pg.Client> => {
    const client = new pg.Client(server.url(database));
    client.on("error", () => undefined); // a failed test stops the server first
    await client.connect();
    stack.defer(async () => client.end());
    return client;
  };
  await (await connect("postgres")).query("create database coder");
  const client = await connect("coder");
  await createCoderSchema(client);
  await publish(client);
  await client.query(
    `set session_replication_role = replica; set scale.workspaces = ${Math.trunc(workspaces)}`,
  );
  await client.query(await readFile(ROWS, "utf8"));
  await client.query("reset session_replication_role");
  await client.query("vacuum (freeze, analyze)");
  await client.query("checkpoint");
  const owned = stack.move();
  return {
    url: server.url("coder"),
    client,
    [Symbol.asyncDispose]: async () => owned.disposeAsync(),
  };
}
