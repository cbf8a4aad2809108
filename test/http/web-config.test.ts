// The format of Prometheus' exporters: what of it is taken, and what is refused by name.

import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { exposureOf } from "../../src/http/exposure.ts";
import { parseWebConfig } from "../../src/http/web-config.ts";
import { missingTool } from "../support/prometheus.ts";

const HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

/** Everything that is taken. */
const WHOLE = `
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_ca_file: clients.crt
  client_auth_type: RequireAndVerifyClientCert
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519, CurveP256]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: ""
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  prometheus: ${HASH}
`;

const mistakes = (yaml: string): readonly string[] => {
  const parsed = parseWebConfig(yaml);
  return "mistakes" in parsed ? parsed.mistakes : [];
};

test("every setting that is taken, as Node wants it", () => {
  expect(parseWebConfig(WHOLE)).toEqual({
    config: {
      tls: {
        cert: { file: "server.crt" },
        key: { file: "server.key" },
        clientCa: { file: "clients.crt" },
        clientAuth: "required",
        minVersion: "TLSv1.2",
        maxVersion: "TLSv1.3",
        // The suites of 1.3 are not for choice, as in Go.
        ciphers:
          "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-RSA-AES128-GCM-SHA256",
        ecdhCurve: "X25519:P-256",
        honorCipherOrder: false,
      },
      headers: {
        "X-Frame-Options": "deny",
        "X-Content-Type-Options": "nosniff",
        "Strict-Transport-Security": "max-age=31536000",
      },
      users: new Map([["prometheus", HASH]]),
    },
  });
});

test("an empty file asks for nothing, and so do empty sections", () => {
  const nothing = { config: { tls: null, headers: {}, users: new Map() } };
  expect(parseWebConfig("")).toEqual(nothing);
  expect(parseWebConfig("tls_server_config:\nhttp_server_config: {}\nbasic_auth_users:\n")).toEqual(
    nothing,
  );
});

test("all mistakes are told at once, by name, and no value with them", () => {
  const yaml = `
tls_server_config:
  cert_file: server.crt
  key_file: 7
  client_auth_type: RequireAnyClientCert
  client_allowed_sans: [c4nary]
  min_version: TLS10
  cipher_suites: [c4nary]
  curve_preferences: X25519
  verify: c4nary
http_server_config:
  http2: c4nary
  headers: { X-Frame-Options: c4nary, Server: c4nary }
basic_auth_users:
  alice: c4nary
  bob: "$2y$15$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
rate_limit: { interval: 1s }
bearer_token: c4nary
`;
  const told = mistakes(yaml);
  expect(told.map((line) => line.split(/: (?=\S+ )/)[0])).toEqual([
    "tls_server_config.key_file",
    "tls_server_config.client_auth_type",
    "tls_server_config.client_allowed_sans",
    "tls_server_config.min_version",
    "tls_server_config.cipher_suites.0",
    "tls_server_config.curve_preferences",
    "tls_server_config.verify",
    "http_server_config.http2",
    "http_server_config.headers.X-Frame-Options",
    "http_server_config.headers.Server",
    "basic_auth_users.alice",
    "basic_auth_users.bob",
    "rate_limit",
    "bearer_token",
  ]);
  expect(told.join("\n")).not.toMatch(/c4nary|\$2y\$15|TLS10\b/);
  expect(told).toContain("tls_server_config.verify: is not known");
  expect(told).toContain("rate_limit: is not supported: limit requests in a proxy before it");
  expect(told[1]).toContain("RequireAndVerifyClientCert");
});

test.each([
  ["min_version: TLS13", ["has neither cert_file nor cert", "has neither key_file nor key"]],
  ["cert_file: a", ["has neither key_file nor key"]],
  ["{ cert: a, cert_file: b, key_file: c }", ["has both cert and cert_file"]],
  [
    "{ cert_file: a, key_file: b, client_ca_file: c }",
    ["has a client CA, but no client_auth_type that uses it: RequireAndVerifyClientCert"],
  ],
  [
    "{ cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert }",
    ["has a client_auth_type, but no client_ca_file to check certificates with"],
  ],
  [
    "{ cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12 }",
    ["has a min_version above its max_version"],
  ],
])("tls_server_config: %s", (section, words) => {
  const yaml = `tls_server_config: ${section.startsWith("{") ? section : `{ ${section} }`}`;
  expect(mistakes(yaml)).toEqual(words.map((word) => `tls_server_config: ${word}`));
});

test.each([
  ["basic_auth_users: { alice: [c4nary", "is not YAML: line 1, "],
  ["basic_auth_users:\n  alice: c4nary\n  alice: c4nary\n", "is not YAML: line 3, DUPLICATE_KEY"],
  ["basic_auth_users:\n\talice: c4nary\n", "is not YAML: line 2, "],
  ["basic_auth_users: !c4nary x", "is not YAML: line 1, "],
  ["- c4nary", "the whole file: must hold names with values"],
  ["c4nary", "the whole file: must hold names with values"],
])("what is not YAML is told without quoting it: %j", (yaml, words) => {
  const told = mistakes(yaml).join("\n");
  expect(told).toContain(words);
  expect(told).not.toContain("c4nary");
});

const missing = process.env["CI"] ? undefined : missingTool("promtool");

test.skipIf(missing)(
  `${missing ? `SKIPPED, ${missing}: ` : ""}promtool takes for right what we do`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "firstlight-web-config-"));
    const file = join(folder, "web.yml");
    // It also looks for the files, which are tried with a real Prometheus elsewhere.
    await writeFile(file, WHOLE.slice(WHOLE.indexOf("http_server_config")));
    const { status, stderr } = spawnSync("promtool", ["check", "web-config", file]);
    expect({ status, said: stderr.toString() }).toEqual({
      status: 0,
      said: expect.stringContaining("SUCCESS"),
    });
    await rm(folder, { recursive: true });
  },
);

test("what others can reach is said once", () => {
  const users = new Map([["prometheus", HASH]]);
  const open = { tls: null, users: new Map(), clientAuth: "none" } as const;
  for (const host of ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
    expect(exposureOf(host, null)).toBeNull();
  for (const host of ["0.0.0.0", "::", "10.1.2.3", "firstlight.example", "127.example.com"]) {
    expect(exposureOf(host, null)).toContain("--web-config");
    expect(exposureOf(host, { ...open, tls: {} })).toContain("--web-config");
    expect(exposureOf(host, { ...open, users })).toContain("plain text");
    expect(exposureOf(host, { ...open, tls: {}, users })).toBeNull();
    expect(exposureOf(host, { ...open, tls: {}, clientAuth: "required" })).toBeNull();
  }
});
