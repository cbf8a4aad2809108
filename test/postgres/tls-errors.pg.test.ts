// TLS to a real server that goes wrong, or asks for more: each error is classed and says what to do.

import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NeedsOperator } from "../../src/errors.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { identifySystem, openWalsender } from "../../src/postgres/walsender.ts";
import {
  type Authority,
  type Issued,
  MISSING_OPENSSL,
  createAuthority,
} from "../support/certificates.ts";
import { PASSWORD, type Role, type TlsServer, startTlsServer } from "../support/tls-server.ts";

const signal = new AbortController().signal;
const title = MISSING_OPENSSL ? `SKIPPED, ${MISSING_OPENSSL}: ` : "";

/** A reload is a signal: it is not said when it is done. */
async function reloaded(holds: () => Promise<unknown>): Promise<void> {
  await expect.poll(() => holds().then(() => "holds", String), { timeout: 20_000 }).toBe("holds");
}

describe.skipIf(MISSING_OPENSSL)(`${title}TLS that a server refuses, or that we do`, () => {
  let ours: Authority;
  let theirs: Authority;
  let server: TlsServer;

  beforeAll(async () => {
    ours = await createAuthority();
    // By the same name: a signature can not be told by it.
    theirs = await createAuthority();
    server = await startTlsServer(ours);
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await theirs[Symbol.asyncDispose]();
    await ours[Symbol.asyncDispose]();
  });

  interface Connecting {
    readonly role?: Role;
    readonly password?: string;
    readonly host?: string;
    readonly query?: string;
    readonly ca?: string;
    readonly client?: Issued;
  }

  /** What the server knows of the connection. */
  async function connect({
    role = "fl",
    password = PASSWORD,
    host,
    query,
    ca,
    client,
  }: Connecting) {
    const certificate = client ? `&sslcert=${client.cert}&sslkey=${client.key}` : "";
    const whole = `?sslmode=verify-full${query ?? ""}${certificate}`;
    const url = server.url(role, { password, ...(host ? { host } : {}), query: whole });
    const config = parseDatabaseUrl(url, { caPath: ca ?? ours.ca });
    await using session = await openSession(config, { signal });
    const [row] = await session.query<{ version: string; client_dn: string | null }>(
      "select version, client_dn from pg_stat_ssl where pid = pg_backend_pid()",
    );
    return row;
  }

  /** The error, which names no secret. */
  async function refused(connecting: Connecting): Promise<NeedsOperator> {
    const error: unknown = await connect(connecting).then(
      () => "it connected",
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(NeedsOperator);
    const { message, hint } = error as NeedsOperator;
    expect(message + hint).not.toContain("c4nary");
    expect(message).not.toMatch(/\n|\.c:\d/);
    return error as NeedsOperator;
  }

  test("a client certificate opens a server that demands one, for SQL and for replication", async () => {
    const client = await ours.issue({ name: "fl_cert" });
    expect(await connect({ role: "fl_cert", client })).toEqual({
      version: "TLSv1.3",
      client_dn: "/CN=fl_cert",
    });
    const alone = await ours.issue({ name: "fl_only_cert" });
    const query = `?sslmode=verify-full&sslcert=${alone.cert}&sslkey=${alone.key}`;
    const url = server.url("fl_only_cert", { query });
    const config = parseDatabaseUrl(url, { caPath: ours.ca });
    await using walsender = await openWalsender(config, { signal });
    expect(await identifySystem(walsender.client)).toMatchObject({ timeline: 1 });
  });

  test("versions of TLS are those that the URL allows", async () => {
    const query = "&ssl_max_protocol_version=TLSv1.2";
    expect(await connect({ query })).toMatchObject({ version: "TLSv1.2" });
    const old = "&ssl_min_protocol_version=TLSv1&ssl_max_protocol_version=TLSv1.1";
    expect(await refused({ query: old })).toMatchObject({
      reason: "tls",
      hint: expect.stringContaining("no TLS version or cipher in common"),
    });
  });

  test("a wrong CA: give the right one", async () => {
    expect(await refused({ ca: theirs.ca })).toMatchObject({
      reason: "tls",
      hint: expect.stringContaining("give the CA that did with --database-ca"),
    });
  });

  test("a private CA is not among those of the system", async () => {
    const url = server.url("fl", { password: PASSWORD, query: "?sslrootcert=system" });
    await expect(openSession(parseDatabaseUrl(url), { signal })).rejects.toMatchObject({
      name: "NeedsOperator",
      reason: "tls",
    });
  });

  test("another name: connect by one that is in the certificate", async () => {
    expect(await refused({ host: "127.0.0.1" })).toMatchObject({
      reason: "tls",
      hint: expect.stringContaining("connect by a name that the server's certificate has"),
    });
  });

  test.each([
    ["none", "fl_cert", undefined, "not_admitted", "add sslcert and sslkey"],
    ["by a CA that the server does not know", "fl_cert", "theirs", "tls", "ssl_ca_file"],
    ["past its end", "fl_cert", "ended", "tls", "valid today"],
    ["of another role", "fl_only_cert", "other", "not_admitted", "its common name"],
  ] as const)("a client certificate: %s", async (_what, role, which, reason, hint) => {
    const client =
      which === "theirs"
        ? await theirs.issue({ name: role })
        : which === "ended"
          ? await ours.issue({ name: role, days: -1 })
          : which === "other"
            ? await ours.issue({ name: "somebody" })
            : undefined;
    const expected = { reason, hint: expect.stringContaining(hint) };
    for (const query of ["", "&ssl_max_protocol_version=TLSv1.2"])
      expect(await refused({ role, query, ...(client ? { client } : {}) })).toMatchObject(expected);
  });

  test("a wrong password is not repeated", async () => {
    expect(await refused({ password: "c4nary-other" })).toMatchObject({
      reason: "authentication",
      hint: expect.stringContaining("--database-password-file"),
    });
  });

  test("no TLS where the server insists on it", async () => {
    const url = server.url("fl", { password: PASSWORD });
    await expect(openSession(parseDatabaseUrl(url), { signal })).rejects.toMatchObject({
      reason: "not_admitted",
      hint: expect.stringContaining("?sslmode=require"),
    });
  });

  test("a certificate past its end, and one that replaces it", async () => {
    await server.install(await ours.issue({ days: -1 }));
    await reloaded(async () => {
      expect(await refused({})).toMatchObject({
        reason: "tls",
        message: "certificate has expired",
        hint: expect.stringContaining("renew it there"),
      });
    });
    await server.install(await ours.issue());
    await reloaded(async () => {
      expect(await connect({})).toMatchObject({ version: "TLSv1.3" });
    });
  });

  test("a server without TLS", async () => {
    await server.tls(false);
    await reloaded(async () => {
      expect(await refused({})).toMatchObject({
        reason: "tls",
        hint: expect.stringContaining("the server has no TLS"),
      });
    });
    await server.tls(true);
    await reloaded(() => connect({}));
  });

  test("a file with the old CA and the new one holds while they change", async () => {
    const both = join(ours.folder, "both.crt");
    await writeFile(both, (await readFile(theirs.ca, "utf8")) + (await readFile(ours.ca, "utf8")));
    expect(await connect({ ca: both })).toMatchObject({ version: "TLSv1.3" });
  });

  test("sslrootcert=system trusts what the operating system trusts", () => {
    const url = server.url("fl", { password: PASSWORD, query: "?sslrootcert=system" });
    const out = execFileSync(process.execPath, ["--input-type=module", "-e", CONNECT], {
      env: { ...process.env, URL: url, SSL_CERT_FILE: ours.ca },
      cwd: ROOT,
      encoding: "utf8",
    });
    expect(out).toBe("encrypted: true\n");
  });
});

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** In a process of its own: OpenSSL looks for the system's authorities once. */
const CONNECT = `
  import pg from "pg";
  import { parseDatabaseUrl } from ${JSON.stringify(new URL("../../src/postgres/url.ts", import.meta.url).href)};
  const client = new pg.Client(parseDatabaseUrl(process.env.URL));
  await client.connect();
  const { rows } = await client.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
  console.log("encrypted:", rows[0].ssl);
  await client.end();`;
