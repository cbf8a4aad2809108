// Starts the one Postgres server that all `pg` tests share, and makes the template that their databases are cloned from.

import pg from "pg";
import type { TestProject } from "vitest/node";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { startServer } from "../../src/demo/server.ts";
import { useTheseServers } from "../matrix/binaries.ts";

const TEMPLATE = "coder_template";

declare module "vitest" {
  export interface ProvidedContext {
    /** A superuser's URL of the shared server, database `postgres`. */
    postgresUrl: string;
    /** The database with Coder's schema and no rows. Nobody may connect to it, so it can always be cloned. */
    postgresTemplate: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  useTheseServers();
  const server = await startServer({
    settings: {
      max_connections: "100",
      max_replication_slots: "40",
      max_wal_senders: "40",
      fsync: "off",
    },
  });
  try {
    await createTemplate((database) => server.url(database));
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  project.provide("postgresUrl", server.url());
  project.provide("postgresTemplate", TEMPLATE);
  return async () => {
    await server[Symbol.asyncDispose]();
  };
}

async function createTemplate(url: (database?: string) => string): Promise<void> {
  const admin = new pg.Client(url());
  await admin.connect();
  try {
    await admin.query(`create database ${TEMPLATE}`);
    const client = new pg.Client(url(TEMPLATE));
    await client.connect();
    try {
      await createCoderSchema(client);
    } finally {
      await client.end();
    }
    await admin.query(`alter database ${TEMPLATE} with is_template true allow_connections false`);
  } finally {
    await admin.end();
  }
}
