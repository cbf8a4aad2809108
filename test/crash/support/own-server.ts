// A Postgres server of the test's own, for what is true for a whole server: stopping it, and its settings.

import pg from "pg";
import { createCoderSchema } from "../../../src/demo/coder/schema.ts";
import { startServer } from "../../../src/demo/server.ts";
import { publish } from "../../support/firstlight.ts";

export interface OwnServer extends AsyncDisposable {
  /** A superuser's URL of a database with Coder's schema, no rows, and our publication. */
  readonly url: string;
  /** A connected client, ended with the server at the latest. */
  client(): Promise<pg.Client>;
  stop(mode: "fast" | "immediate"): Promise<void>;
  start(): Promise<void>;
}

/** Starts a server. Its files are not synced: what a crash of the machine would do is not what is tested. */
export async function ownServer(): Promise<OwnServer> {
  const server = await startServer({ settings: { fsync: "off" } });
  const url = server.url("coder");
  const clients: pg.Client[] = [];
  const connect = async (to: string): Promise<pg.Client> => {
    const client = new pg.Client(to);
    client.on("error", () => undefined); // the server is going to be stopped
    await client.connect();
    clients.push(client);
    return client;
  };
  const close = async (): Promise<void> => {
    await Promise.allSettled(clients.map(async (client) => client.end()));
    await server[Symbol.asyncDispose]();
  };
  try {
    await (await connect(server.url())).query("create database coder");
    const client = await connect(url);
    await createCoderSchema(client);
    await publish(client);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    url,
    client: async () => connect(url),
    stop: server.stop,
    start: server.start,
    [Symbol.asyncDispose]: close,
  };
}
