// A Postgres server with TLS by a private CA, and roles that it admits in different ways.

import { chmod, chown, copyFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { type Server, startServer } from "../../src/demo/server.ts";
import type { Authority, Issued } from "./certificates.ts";
import { publish } from "./firstlight.ts";

export const PASSWORD = "c4nary-password";

/** `fl`: password alone. `fl_cert`: client certificate and password. `fl_only_cert`: certificate alone. All by TLS only. */
export const ROLES = ["fl", "fl_cert", "fl_only_cert"] as const;
export type Role = (typeof ROLES)[number];

export interface TlsServer extends AsyncDisposable {
  /** By the name in its certificate; `query` is what follows the database's name. */
  url(role: Role, options?: { password?: string; host?: string; query?: string }): string;
  /** Serves this certificate from now on. */
  install(issued: Issued): Promise<void>;
  /** Turns TLS off, and on again. */
  tls(on: boolean): Promise<void>;
  admin(): Promise<pg.Client & AsyncDisposable>;
}

const HBA = `local all all trust
host all postgres 127.0.0.1/32 trust
hostssl all fl 127.0.0.1/32 scram-sha-256
hostssl all fl_cert 127.0.0.1/32 scram-sha-256 clientcert=verify-full
hostssl all fl_only_cert 127.0.0.1/32 cert
`;

/** Coder's schema, our publication, and the roles, which may follow it. */
export async function startTlsServer(authority: Authority): Promise<TlsServer> {
  const server = await startServer({ settings: { ssl_ca_file: "root.crt" } });
  const admin = async () => {
    const client = new pg.Client(server.url());
    await client.connect();
    return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
  };
  const install = async ({ cert, key }: Issued): Promise<void> => {
    await put(server, cert, "server.crt");
    await put(server, key, "server.key");
    await using client = await admin();
    await client.query("select pg_reload_conf()");
  };
  const tls = async (on: boolean): Promise<void> => {
    await using client = await admin();
    await client.query(`alter system set ssl = ${on ? "on" : "off"}`);
    await client.query("select pg_reload_conf()");
  };
  try {
    await put(server, authority.ca, "root.crt");
    await install(await authority.issue());
    await prepare(await admin());
    await writeFile(join(server.dataDir, "pg_hba.conf"), HBA);
    await tls(true);
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return {
    url: (role, { password, host = "localhost", query = "" } = {}) =>
      `postgres://${role}${password === undefined ? "" : `:${password}`}@${host}:${server.port}/postgres${query}`,
    install,
    tls,
    admin,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Postgres refuses a key that is not its own user's. */
async function put(server: Server, from: string, name: string): Promise<void> {
  const { uid, gid } = await stat(server.dataDir);
  const file = join(server.dataDir, name);
  await copyFile(from, file);
  await chmod(file, 0o600);
  await chown(file, uid, gid);
}

async function prepare(client: pg.Client & AsyncDisposable): Promise<void> {
  await using _ = client;
  await createCoderSchema(client);
  await publish(client);
  for (const role of ROLES) {
    await client.query(`create role ${role} login replication password '${PASSWORD}'`);
    await client.query(`grant select on all tables in schema public to ${role}`);
  }
}
