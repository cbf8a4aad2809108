// The web configuration: TLS, headers and basic auth, in the format that Prometheus' exporters share
// (github.com/prometheus/exporter-toolkit, docs/web-configuration.md). Pure: text in, settings or all mistakes out. What we
// can not do is refused by name, because a setting that is passed over in silence protects nobody.

import { LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import {
  CIPHER_SUITES,
  CURVES,
  MAX_BCRYPT_COST,
  NAMES,
  TLS13_SUITES,
  headers,
} from "./web-values.ts";

/** Where a PEM text is: in a file, or in the configuration itself. */
export type Pem = { readonly file: string } | { readonly text: string };

export interface WebTls {
  readonly cert: Pem;
  readonly key: Pem;
  readonly clientCa: Pem | null;
  readonly clientAuth: "none" | "if given" | "required";
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  readonly maxVersion: "TLSv1.2" | "TLSv1.3";
  /** As OpenSSL spells them; undefined: its default. */
  readonly ciphers: string | undefined;
  readonly ecdhCurve: string | undefined;
  readonly honorCipherOrder: boolean;
}

export interface WebConfig {
  readonly tls: WebTls | null;
  readonly headers: Readonly<Record<string, string>>;
  /** bcrypt hashes by user; empty: nobody is asked who they are. */
  readonly users: ReadonlyMap<string, string>;
}

/** Blank is absent, as in Go. */
const text = z
  .string({ error: "must be text" })
  .nullish()
  .transform((value) => value || undefined);
const unsupported = (instead: string) =>
  z
    .any()
    .refine(() => false, `is not supported: ${instead}`)
    .optional();
const yesOrNo = z.boolean({ error: "must be true or false" }).nullish();
const VERSIONS = { TLS12: "TLSv1.2", TLS13: "TLSv1.3" } as const;
const version = z
  .enum(["TLS12", "TLS13"], { error: "must be TLS12 or TLS13; older versions are not secure" })
  .nullish();
const listOf = (known: Readonly<Record<string, string>>) =>
  z
    .array(
      z.enum(Object.keys(known), { error: `must be one of ${Object.keys(known).join(", ")}` }),
      {
        error: "must be a list",
      },
    )
    .nullish();
const CLIENT_AUTH = {
  NoClientCert: "none",
  VerifyClientCertIfGiven: "if given",
  RequireAndVerifyClientCert: "required",
} as const;
const clientAuth = z
  .enum(["", "NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"], {
    error:
      "must be NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert; others check nothing",
  })
  .nullish();

const tlsSection = z.strictObject(
  {
    cert: text,
    key: text,
    client_ca: text,
    cert_file: text,
    key_file: text,
    client_ca_file: text,
    client_auth_type: clientAuth,
    client_allowed_sans: unsupported("use a client_ca_file that signs only those clients"),
    min_version: version,
    max_version: version,
    cipher_suites: listOf(CIPHER_SUITES),
    prefer_server_cipher_suites: yesOrNo,
    curve_preferences: listOf(CURVES),
  },
  NAMES,
);

const httpSection = z.strictObject(
  {
    // HTTP/1.1 is what is spoken here, so both are kept.
    http2: yesOrNo,
    headers: headers.nullish(),
  },
  NAMES,
);

const HASH = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;
const hash = z.string({ error: "must be a bcrypt hash" }).superRefine((value, context) => {
  const cost = Number(HASH.exec(value)?.[1]);
  if (Number.isNaN(cost) || cost < 4) {
    context.addIssue("must be a bcrypt hash, which begins with $2y$, $2b$ or $2a$");
  } else if (cost > MAX_BCRYPT_COST) {
    context.addIssue(
      `has a bcrypt cost above ${MAX_BCRYPT_COST}: a first login would take longer than a scrape may`,
    );
  }
});

const sections = z.strictObject(
  {
    tls_server_config: tlsSection.nullish(),
    http_server_config: httpSection.nullish(),
    basic_auth_users: z.record(z.string(), hash, NAMES).nullish(),
    rate_limit: unsupported("limit requests in a proxy before it"),
  },
  NAMES,
);

/** Mistakes hold names of keys and users, never a value. */
export function parseWebConfig(
  yaml: string,
): { readonly config: WebConfig } | { readonly mistakes: readonly string[] } {
  const lines = new LineCounter();
  const document = parseDocument(yaml, { lineCounter: lines, prettyErrors: false });
  const broken = [...document.errors, ...document.warnings];
  // Their messages may quote the file.
  if (broken.length > 0)
    return {
      mistakes: broken.map(
        ({ code, pos: [start] }) => `is not YAML: line ${lines.linePos(start).line}, ${code}`,
      ),
    };
  const parsed = sections.safeParse(document.toJS() ?? {});
  if (!parsed.success)
    return {
      mistakes: parsed.error.issues.flatMap((issue) =>
        issue.code === "unrecognized_keys"
          ? issue.keys.map((key) => `${[...issue.path, key].join(".")}: is not known`)
          : `${issue.path.join(".") || "the whole file"}: ${issue.message}`,
      ),
    };
  const { tls_server_config, http_server_config, basic_auth_users } = parsed.data;
  const mistakes: string[] = [];
  const tls = tls_server_config ? tlsOf(tls_server_config, mistakes) : null;
  if (mistakes.length > 0) return { mistakes };
  return {
    config: {
      tls,
      headers: http_server_config?.headers ?? {},
      users: new Map(Object.entries(basic_auth_users ?? {})),
    },
  };
}

type TlsSection = z.infer<typeof tlsSection>;

function tlsOf(section: TlsSection, mistakes: string[]): WebTls | null {
  if (Object.values(section).every((value) => value === undefined || value === null)) return null;
  const wrong = (words: string): void => void mistakes.push(`tls_server_config: ${words}`);
  const pem = (name: "cert" | "key" | "client_ca"): Pem | null => {
    const inline = section[name];
    const file = section[`${name}_file`];
    if (inline !== undefined && file !== undefined) wrong(`has both ${name} and ${name}_file`);
    if (file !== undefined) return { file };
    return inline === undefined ? null : { text: inline };
  };
  const [cert, key, clientCa] = [pem("cert"), pem("key"), pem("client_ca")];
  if (cert === null) wrong("has neither cert_file nor cert");
  if (key === null) wrong("has neither key_file nor key");
  const auth = CLIENT_AUTH[section.client_auth_type || "NoClientCert"];
  if (clientCa !== null && auth === "none")
    wrong("has a client CA, but no client_auth_type that uses it: RequireAndVerifyClientCert");
  if (clientCa === null && auth !== "none")
    wrong("has a client_auth_type, but no client_ca_file to check certificates with");
  const minVersion = VERSIONS[section.min_version ?? "TLS12"];
  const maxVersion = VERSIONS[section.max_version ?? "TLS13"];
  if (minVersion > maxVersion) wrong("has a min_version above its max_version");
  if (cert === null || key === null) return null;
  const suites = section.cipher_suites
    ?.map((name) => CIPHER_SUITES[name] ?? "")
    .filter((name) => !TLS13_SUITES.includes(name));
  return {
    cert,
    key,
    clientCa,
    clientAuth: auth,
    minVersion,
    maxVersion,
    // As in Go, the list is of TLS 1.2; the suites of 1.3 are always there.
    ciphers: suites ? [...TLS13_SUITES, ...suites].join(":") : undefined,
    ecdhCurve: section.curve_preferences?.map((name) => CURVES[name] ?? "").join(":") || undefined,
    honorCipherOrder: section.prefer_server_cipher_suites ?? true,
  };
}
