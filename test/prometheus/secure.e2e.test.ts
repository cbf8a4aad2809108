// A real Prometheus scrapes by TLS, with a password and a client certificate, and goes on when they are replaced.

import { execFile } from "node:child_process";
import { copyFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { hashSync } from "bcryptjs";
import { expect, test } from "vitest";
import { createAuthority } from "../support/certificates.ts";
import { createDatabase } from "../support/database.ts";
import { outsideEnvironment, publish, startProcess, uniqueSlot } from "../support/firstlight.ts";
import { missingTool, startPrometheus } from "../support/prometheus.ts";

const missing = process.env["CI"]
  ? undefined
  : (missingTool("prometheus") ?? missingTool("openssl") ?? missingTool("curl"));
const title = (text: string): string => (missing ? `SKIPPED, ${missing}: ${text}` : text);
const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const run = promisify(execFile);

test.skipIf(missing)(
  title("TLS, a password and a client certificate, replaced under a Prometheus that scrapes"),
  async () => {
    await using authority = await createAuthority();
    const file = (name: string): string => join(authority.folder, name);
    const install = async (): Promise<void> => {
      const issued = await authority.issue();
      await copyFile(issued.key, file("server.key"));
      await copyFile(issued.cert, file("server.crt"));
    };
    await install();
    const client = await authority.issue({ name: "prometheus" });
    const write = (password: string): Promise<void> =>
      writeFile(
        file("web.yml"),
        `tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
basic_auth_users:
  prometheus: ${hashSync(password, 6)}
`,
      );
    await write("c4nary-one");
    await writeFile(file("password"), "c4nary-one");

    await using database = await createDatabase();
    await publish(await database.client());
    await using firstlight = await startProcess({
      url: database.url,
      slot: uniqueSlot(),
      statePath: file("firstlight.db"),
      env: { FIRSTLIGHT_WEB_CONFIG: file("web.yml") },
    });
    const tls = `ca_file: ${authority.ca}, cert_file: ${client.cert}, key_file: ${client.key}`;
    await using prometheus = await startPrometheus(firstlight.port, undefined, {
      scrape: `scheme: https, tls_config: { ${tls} }, basic_auth: { username: prometheus, password_file: ${file("password")} }`,
    });
    expect(await prometheus.query("firstlight_build_info")).toHaveLength(1);

    await install();
    await prometheus.scraped();
    await write("c4nary-two");
    await writeFile(file("password"), "c4nary-two");
    await prometheus.scraped();

    const asking = "--silent --output /dev/null --write-out %{http_code} --cacert".split(" ");
    const at = `https://localhost:${firstlight.port}/metrics`;
    const curl = (...args: readonly string[]): Promise<string> =>
      run("curl", [...asking, authority.ca, ...args, at]).then(
        ({ stdout }) => stdout,
        (error: { code: number }) => `curl ended with ${error.code}`,
      );
    const certified = ["--cert", client.cert, "--key", client.key];
    expect(await curl(...certified, "--user", "prometheus:c4nary-two")).toBe("200");
    expect(await curl(...certified, "--user", "prometheus:c4nary-one")).toBe("401");
    expect(await curl(...certified)).toBe("401");
    expect(await curl("--user", "prometheus:c4nary-two")).toMatch(/^curl ended with/);
    expect(firstlight.log.join("\n")).not.toMatch(/c4nary|\$2[aby]\$/);
    expect(firstlight.log.join("\n")).toContain("web configuration read again");
  },
);

test.skipIf(missing)(
  title("a web configuration with mistakes: exit code 2, all of them, and no hash"),
  async () => {
    await using authority = await createAuthority();
    const web = join(authority.folder, "web.yml");
    const hash = hashSync("c4nary", 4).replace("$2b$04", "$2b$03");
    await writeFile(
      web,
      `tls_server_config: { cert_file: none.crt, key_file: none.key, min_version: TLS11 }
basic_auth_users: { prometheus: "${hash}", alice: c4nary }
rate_limit: { burst: 1 }
`,
    );
    const env = { ...outsideEnvironment(), FIRSTLIGHT_LISTEN: "nowhere", DATABASE_URL: "" };
    const ended = await run(process.execPath, [MAIN, "serve", "--web-config", web], { env }).then(
      () => ({ code: 0, stderr: "" }),
      (error: { code: number; stderr: string }) => error,
    );
    expect(ended.code).toBe(2);
    for (const mistake of [
      'FIRSTLIGHT_LISTEN "nowhere": ',
      `--web-config "${web}": tls_server_config.min_version: must be TLS12 or TLS13`,
      `--web-config "${web}": basic_auth_users.prometheus: must be a bcrypt hash`,
      `--web-config "${web}": basic_auth_users.alice: must be a bcrypt hash`,
      `--web-config "${web}": rate_limit: is not supported`,
      "--database-url: is missing",
    ])
      expect(ended.stderr).toContain(`\n  ${mistake}`);
    expect(ended.stderr).not.toMatch(/c4nary|\$2b\$0/);
  },
);
