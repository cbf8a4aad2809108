// The HTTP surface behind a web configuration, on real sockets: TLS, who may ask, and what changes while it runs.

import { X509Certificate } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:https";
import { readFileSync } from "node:fs";
import { connect as dial } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type TLSSocket, connect } from "node:tls";
import { hashSync } from "bcryptjs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NeedsOperator } from "../../src/errors.ts";
import { webConfigMistakes } from "../../src/http/web-files.ts";
import {
  type Authority,
  type Issued,
  MISSING_OPENSSL,
  createAuthority,
} from "../support/certificates.ts";
import { NO_FACTS } from "../support/facts.ts";
import { type Asking, type Serving, serving } from "../support/serving.ts";

const title = MISSING_OPENSSL ? `SKIPPED, ${MISSING_OPENSSL}: ` : "";
const PATHS = [
  "/",
  "/metrics",
  "/metrics/process",
  "/readyz",
  "/api/status",
  "/api/facts",
  "/none",
];
const read = (path: string): string => readFileSync(path, "utf8");

const tlsOf = ({ cert, key }: Issued, more = ""): string =>
  `tls_server_config:\n  cert_file: ${cert}\n  key_file: ${key}\n${more}`;

const usersOf = (users: Readonly<Record<string, string>>): string =>
  `basic_auth_users:\n${Object.entries(users)
    .map(([name, password]) => `  ${name}: ${hashSync(password, 4)}\n`)
    .join("")}`;

const basic = (user: string, password: string): Asking["headers"] => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});

const inline = (name: string, path: string): string =>
  `  ${name}: |\n${read(path).replaceAll(/^/gm, "    ").trimEnd()}\n`;

const pem = ({ cert, key }: Issued) => ({ cert: read(cert), key: read(key) });

describe.skipIf(MISSING_OPENSSL)(`${title}a web configuration`, { timeout: 30_000 }, () => {
  let authority: Authority;
  let strangers: Authority;
  let files = 0;

  beforeAll(async () => {
    authority = await createAuthority();
    strangers = await createAuthority();
  });
  afterAll(async () => {
    await strangers[Symbol.asyncDispose]();
    await authority[Symbol.asyncDispose]();
  });

  async function written(yaml: string): Promise<string> {
    const file = join(authority.folder, `web-${++files}.yml`);
    await writeFile(file, yaml);
    return file;
  }

  const start = async (yaml: string): Promise<Serving & { file: string }> => {
    const file = await written(yaml);
    return Object.assign(await serving(null, NO_FACTS, file), { file });
  };
  const trusting = (asking: Asking = {}): Asking => ({ ca: read(authority.ca), ...asking });

  test("everything but /livez asks for a login", async () => {
    await using server = await start(usersOf({ prometheus: "wonderland" }));
    for (const path of PATHS) {
      const stranger = await server.get(path);
      expect(stranger).toMatchObject({ status: 401, body: "login needed\n" });
      expect(stranger.headers["www-authenticate"]).toBe(
        'Basic realm="firstlight", charset="UTF-8"',
      );
      for (const headers of [basic("prometheus", "Wonderland"), basic("alice", "wonderland")])
        expect((await server.get(path, { headers: headers ?? {} })).status).toBe(401);
      const { status } = await server.get(path, {
        headers: basic("prometheus", "wonderland") ?? {},
      });
      expect({ path, status }).toEqual({
        path,
        status: path === "/readyz" ? 503 : path === "/none" ? 404 : 200,
      });
    }
    expect(await server.get("/livez")).toMatchObject({ status: 200, body: "ok\n" });
    for (const path of ["/livez/", "//livez", "/livez/x", "/LIVEZ"])
      expect((await server.get(path)).status).toBe(401);
    expect((await server.get("/livez", { method: "POST" })).status).toBe(405);
    for (const authorization of ["Basic", "Basic !", "Bearer x", "Basic YWxpY2U=", "Basic Og=="])
      expect((await server.get("/metrics", { headers: { authorization } })).status).toBe(401);
  });

  test("headers are on every answer, also on one that is written chunk by chunk", async () => {
    await using server = await start(
      "http_server_config: { headers: { X-Frame-Options: deny, X-XSS-Protection: '' } }",
    );
    for (const path of ["/metrics", "/", "/none"]) {
      const { headers } = await server.get(path);
      expect(headers["x-frame-options"]).toBe("deny");
      expect(headers).not.toHaveProperty("x-xss-protection");
    }
    expect((await server.get("/metrics")).headers["content-type"]).toContain("text/plain");
  });

  test("TLS is spoken, and nothing else", async () => {
    await using server = await start(tlsOf(await authority.issue()));
    expect(await server.get("/metrics", trusting())).toMatchObject({
      status: 200,
      body: expect.stringContaining("firstlight_ready 0"),
    });
    await expect(server.get("/metrics", { secure: false })).rejects.toThrow(/hang up|ECONNRESET/);
    await expect(server.get("/metrics", { ca: read(strangers.ca) })).rejects.toThrow(/certificate/);
    await expect(
      handshake(server.port, { maxVersion: "TLSv1.1", minVersion: "TLSv1" }),
    ).rejects.toThrow();
    expect(await handshake(server.port, { maxVersion: "TLSv1.2" })).toBe("TLSv1.2");
    expect(await handshake(server.port, {})).toBe("TLSv1.3");
  });

  test("min_version is kept, and certificates may stand in the file itself", async () => {
    const issued = await authority.issue();
    const both = inline("cert", issued.cert) + inline("key", issued.key);
    await using server = await start(`tls_server_config:\n${both}  min_version: TLS13\n`);
    expect(await handshake(server.port, {})).toBe("TLSv1.3");
    await expect(handshake(server.port, { maxVersion: "TLSv1.2" })).rejects.toThrow();
  });

  function handshake(port: number, options: object): Promise<string | null> {
    return new Promise((resolve, reject) => {
      const socket: TLSSocket = connect(
        { port, host: "127.0.0.1", servername: "localhost", ca: read(authority.ca), ...options },
        () => {
          resolve(socket.getProtocol());
          socket.destroy();
        },
      );
      socket.once("error", reject);
    });
  }

  test("a certificate that is replaced is served without a restart, also to who stays connected", async () => {
    const issued = await authority.issue();
    await using server = await start(tlsOf(issued));
    using agent = disposable(new Agent({ keepAlive: true, maxSockets: 1 }));
    const seen = async (): Promise<string> => {
      const answer = await server.open("/livez", trusting({ agent }));
      const { fingerprint256 } = (answer.socket as TLSSocket).getPeerCertificate();
      answer.resume();
      await new Promise((resolve) => answer.once("close", resolve));
      return fingerprint256;
    };
    const first = await seen();
    expect(await seen()).toBe(first);
    const next = await authority.issue();
    const { fingerprint256: second } = new X509Certificate(read(next.cert));
    await rename(next.key, issued.key);
    await rename(next.cert, issued.cert);
    // The connection that is there is told to go; the one after it has the new certificate.
    await seen();
    expect(await seen()).toBe(second);
    expect(server.logged).toEqual([]);
  });

  test("users change without a restart", async () => {
    await using server = await start(usersOf({ prometheus: "wonderland" }));
    const status = async (user: string, password: string): Promise<number> =>
      (await server.get("/", { headers: basic(user, password) ?? {} })).status;
    expect(await status("prometheus", "wonderland")).toBe(200);
    await writeFile(server.file, usersOf({ prometheus: "changed", alice: "rabbit" }));
    expect(await status("prometheus", "wonderland")).toBe(401);
    expect(await status("prometheus", "changed")).toBe(200);
    expect(await status("alice", "rabbit")).toBe(200);
  });

  test("a file that breaks closes the door, is told once, and opens it again", async () => {
    const users = usersOf({ prometheus: "wonderland" });
    await using server = await start(users);
    const headers = basic("prometheus", "wonderland") ?? {};
    await writeFile(server.file, "basic_auth_users: { prometheus: c4nary }");
    for (const path of [...PATHS, "/livez"])
      expect(await server.get(path, { headers })).toMatchObject({
        status: 500,
        body: "the web configuration can not be used\n",
      });
    expect(server.logged).toHaveLength(1);
    expect(server.logged[0]).toContain("basic_auth_users.prometheus: must be a bcrypt hash");
    expect(server.logged[0]).not.toContain("c4nary");
    await rm(server.file);
    expect((await server.get("/", { headers })).status).toBe(500);
    expect(server.logged).toHaveLength(2);
    await writeFile(server.file, users);
    expect((await server.get("/", { headers })).status).toBe(200);
  });

  test("a key that does not belong to the certificate closes the door until it does", async () => {
    const issued = await authority.issue();
    await using server = await start(tlsOf(issued));
    const next = await authority.issue();
    await rename(next.cert, issued.cert);
    await expect(server.get("/livez", trusting())).rejects.toThrow(
      /handshake failure|alert|hang up/,
    );
    expect(server.logged.join()).toContain("does not belong to the certificate");
    await rename(next.key, issued.key);
    expect((await server.get("/livez", trusting())).status).toBe(200);
  });

  test("TLS does not turn off by an edit", async () => {
    await using server = await start(tlsOf(await authority.issue()));
    await writeFile(server.file, "");
    await expect(server.get("/livez", trusting())).rejects.toThrow();
    await expect(server.get("/livez", { secure: false })).rejects.toThrow();
    expect(server.logged.join()).toContain("restart to take it");
  });

  test("RequireAndVerifyClientCert lets in who has a certificate of that CA, and nobody else", async () => {
    const clients = join(authority.folder, "clients.crt");
    await writeFile(clients, read(authority.ca));
    const more = `  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ${clients}\n`;
    await using server = await start(tlsOf(await authority.issue(), more));
    const ours = pem(await authority.issue({ name: "prometheus" }));
    expect((await server.get("/metrics", trusting(ours))).status).toBe(200);
    await expect(server.get("/livez", trusting())).rejects.toThrow();
    const stranger = pem(await strangers.issue({ name: "prometheus" }));
    await expect(server.get("/livez", trusting(stranger))).rejects.toThrow();
    const ended = pem(await authority.issue({ name: "prometheus", days: -1 }));
    await expect(server.get("/livez", trusting(ended))).rejects.toThrow();

    // Who was let in before the CA changed is not let in by the same connection.
    using agent = disposable(new Agent({ keepAlive: true, maxSockets: 1 }));
    expect((await server.get("/livez", trusting({ ...ours, agent }))).status).toBe(200);
    await writeFile(clients, read(strangers.ca));
    await expect(server.get("/livez", trusting({ ...ours, agent }))).rejects.toThrow();
    expect((await server.get("/livez", trusting(stranger))).status).toBe(200);
  });

  test("VerifyClientCertIfGiven takes none, and no wrong one", async () => {
    const more = `  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ${authority.ca}\n`;
    await using server = await start(tlsOf(await authority.issue(), more));
    expect((await server.get("/livez", trusting())).status).toBe(200);
    const ours = pem(await authority.issue({ name: "prometheus" }));
    expect((await server.get("/livez", trusting(ours))).status).toBe(200);
    const stranger = pem(await strangers.issue({ name: "prometheus" }));
    await expect(server.get("/livez", trusting(stranger))).rejects.toThrow();
  });

  test("who connects and says nothing does not hold up the end", async () => {
    const server = await start(tlsOf(await authority.issue()));
    const silent = dial(server.port, "127.0.0.1").on("error", () => undefined);
    await new Promise((resolve) => silent.once("connect", resolve));
    await sleep(50);
    const began = performance.now();
    await server[Symbol.asyncDispose]();
    expect(performance.now() - began).toBeLessThan(4_000);
    silent.destroy();
  });

  test("what can not be used at the start is listed, with the files that it names", async () => {
    const issued = await authority.issue();
    const other = await authority.issue();
    const broken = join(authority.folder, "broken.pem");
    await writeFile(broken, "c4nary");
    const mistakes = async (yaml: string) => webConfigMistakes(await written(yaml), read);
    expect(await mistakes(tlsOf(issued))).toEqual([]);
    expect(await mistakes(tlsOf({ ...issued, key: other.key }))).toEqual([
      "tls_server_config.key: does not belong to the certificate",
    ]);
    expect(await mistakes(tlsOf({ cert: broken, key: broken }))).toEqual([
      "tls_server_config.cert: holds no certificate (PEM)",
      "tls_server_config.key: holds no private key (PEM), or one with a passphrase",
    ]);
    expect(await mistakes(tlsOf({ cert: "none.crt", key: "none.key" }))).toEqual([
      "tls_server_config.cert_file: can not be read (ENOENT)",
      "tls_server_config.key_file: can not be read (ENOENT)",
    ]);
    expect(webConfigMistakes(join(authority.folder, "none.yml"), read)).toEqual([
      "can not be read (ENOENT)",
    ]);
    // Names are relative to the configuration's own folder.
    const name = (path: string): string => path.slice(authority.folder.length + 1);
    const relative = { cert: name(issued.cert), key: name(issued.key) };
    expect(await mistakes(tlsOf(relative))).toEqual([]);
    await expect(start(tlsOf({ cert: broken, key: broken }))).rejects.toBeInstanceOf(NeedsOperator);
  });
});

function disposable(agent: Agent): Agent & Disposable {
  return Object.assign(agent, { [Symbol.dispose]: () => agent.destroy() });
}
