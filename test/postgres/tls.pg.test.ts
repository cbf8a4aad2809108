// TLS needs a certificate, and Node can not make one: without `openssl` this suite is skipped, and says so.

import { execFileSync, spawnSync } from "node:child_process";
import { appendFile, chmod, chown, copyFile, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Server, startServer } from "../../src/demo/server.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";

const signal = new AbortController().signal;
const withoutOpenssl = spawnSync("openssl", ["version"]).status !== 0;

describe.skipIf(withoutOpenssl)("TLS (needs openssl)", () => {
  let server: Server;
  let folder: string;
  let caPath: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "firstlight-tls-"));
    caPath = join(folder, "server.crt");
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const files = ["-keyout", join(folder, "server.key"), "-out", caPath];
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject, ...files],
      {
        stdio: "ignore",
      },
    );
    server = await startServer();
    const { uid, gid } = await stat(server.dataDir);
    for (const name of ["server.key", "server.crt"]) {
      const file = join(server.dataDir, name);
      await copyFile(join(folder, name), file);
      await chmod(file, 0o600);
      await chown(file, uid, gid);
    }
    await appendFile(join(server.dataDir, "postgresql.auto.conf"), "ssl = on\n");
    await server.stop("fast");
    await server.start();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** Connects by the name in the certificate, or by an address that is not in it. */
  async function encrypted(
    host: "localhost" | "127.0.0.1",
    query: string,
    ca: boolean,
  ): Promise<boolean | undefined> {
    const url = `${server.url().replace("127.0.0.1", host)}${query}`;
    await using session = await openSession(
      parseDatabaseUrl(url, { caPath: ca ? caPath : undefined }),
      { signal },
    );
    const [row] = await session.query<{ ssl: boolean }>(
      "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
    );
    return row?.ssl;
  }

  test("without an sslmode the connection is plain; with one it is encrypted", async () => {
    expect(await encrypted("127.0.0.1", "", false)).toBe(false);
    expect(await encrypted("127.0.0.1", "?sslmode=require", false)).toBe(true);
    expect(await encrypted("127.0.0.1", "?sslmode=require&sslnegotiation=direct", false)).toBe(
      true,
    );
  });

  test("a CA alone checks the certificate and its name", async () => {
    expect(await encrypted("localhost", "", true)).toBe(true);
    await expect(encrypted("127.0.0.1", "", true)).rejects.toMatchObject({
      name: "NeedsOperator",
      reason: "tls",
    });
  });

  test("verify-ca checks the certificate and not its name", async () => {
    expect(await encrypted("127.0.0.1", "?sslmode=verify-ca", true)).toBe(true);
  });

  test("a certificate that nobody vouches for needs an operator", async () => {
    const connecting = encrypted("localhost", "?sslmode=verify-full", false);
    await expect(connecting).rejects.toMatchObject({ name: "NeedsOperator", reason: "tls" });
  });
});
