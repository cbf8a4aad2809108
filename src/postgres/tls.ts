// TLS to the database, from the parameters of its URL, as libpq means them. Reads the files that they name.

import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { type ConnectionOptions, type SecureVersion, getCACertificates } from "node:tls";
import { errorCode } from "../errors.ts";

const SSL_MODES = ["disable", "require", "verify-ca", "verify-full"];
const VERSIONS: readonly SecureVersion[] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/** What libpq would keep and we can not: passing over it in silence would be less safe than the URL says. */
const NOT_KEPT: Readonly<Record<string, { harmless: readonly string[]; instead: string }>> = {
  channel_binding: {
    harmless: ["disable", "prefer"],
    instead:
      "leave it out and use sslmode=verify-full, which tells a stranger from the server, too",
  },
  require_auth: {
    harmless: [],
    instead: "leave it out and use sslmode=verify-full, so that only the server gets to ask",
  },
  gssencmode: { harmless: ["disable", "prefer"], instead: "leave it out and use TLS (sslmode)" },
  sslcrldir: { harmless: [], instead: "name one file with sslcrl" },
};

/** What is wrong with these parameters, in words that hold no value of theirs. Reads no file. `modeFrom`: who chose the mode. */
export function tlsMistake(
  parameters: URLSearchParams,
  { caGiven, modeFrom }: { readonly caGiven: boolean; readonly modeFrom: string },
): string | undefined {
  for (const [name, { harmless, instead }] of Object.entries(NOT_KEPT)) {
    const value = parameters.get(name);
    if (value !== null && !harmless.includes(value))
      return `has a ${name} that can not be kept: ${instead}`;
  }
  for (const name of ["ssl_min_protocol_version", "ssl_max_protocol_version"]) {
    const value = parameters.get(name);
    if (value !== null && !isVersion(value))
      return `has an ${name} that must be one of ${VERSIONS.join(", ")}`;
  }
  if (parameters.has("sslcert") !== parameters.has("sslkey"))
    return "must have sslcert and sslkey, or neither: a certificate is of no use without its key";
  const ssl = parameters.get("ssl");
  if (ssl !== null && !["true", "1", "false", "0"].includes(ssl))
    return `has an ssl that must be true or false; sslmode is what libpq knows, one of ${SSL_MODES.join(", ")}`;
  const mode = parameters.get("sslmode");
  if (mode === null) return undefined;
  if (!SSL_MODES.includes(mode))
    return `${modeFrom} that must be one of ${SSL_MODES.join(", ")}${mode === "prefer" || mode === "allow" ? " (prefer and allow turn to plain text in silence)" : ""}`;
  if (mode === "disable" && (caGiven || parameters.has("sslrootcert")))
    return "has sslmode=disable, although a CA is given";
  if (mode === "disable" && parameters.has("sslcert"))
    return "has sslmode=disable, although a client certificate is given";
  if (mode === "verify-ca" && !parameters.has("sslrootcert"))
    return "has sslmode=verify-ca, but no CA is given";
  return undefined;
}

/** The options for the connection; undefined and false: plain. Throws what reading a file throws. */
export function readTls(parameters: URLSearchParams): ConnectionOptions | boolean | undefined {
  const mode = parameters.get("sslmode");
  const given = ["sslrootcert", "sslcert"].some((name) => parameters.has(name));
  if (mode === "disable") return false;
  if (mode === null && !given) {
    const asked = ["true", "1"].includes(parameters.get("ssl") ?? "");
    return asked || parameters.get("sslnegotiation") === "direct" ? true : undefined;
  }
  const ca = parameters.get("sslrootcert");
  const text = (name: string): string | undefined => {
    const path = parameters.get(name);
    return path === null ? undefined : readFileSync(path, "utf8");
  };
  const all: ConnectionOptions = {
    ca: ca === "system" ? trustedBySystem() : text("sslrootcert"),
    cert: text("sslcert"),
    key: text("sslkey"),
    passphrase: parameters.get("sslpassword") ?? undefined,
    crl: text("sslcrl"),
    minVersion: versionOf(parameters.get("ssl_min_protocol_version")),
    maxVersion: versionOf(parameters.get("ssl_max_protocol_version")),
    // Without a CA `require` only encrypts; with one it is `verify-ca`, which does not look at the name.
    ...(mode === "require" && ca === null ? { rejectUnauthorized: false } : {}),
    ...(mode === "verify-ca" || (mode === "require" && ca !== null)
      ? { checkServerIdentity: () => undefined }
      : {}),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Those that the operating system trusts, and those that Node brings: slim images have none of their own. */
function trustedBySystem(): string[] {
  return [...new Set([...getCACertificates("system"), ...getCACertificates("default")])];
}

/** What is wrong with the files that these parameters name, in words that hold nothing of theirs. */
export function tlsFileMistake(parameters: URLSearchParams): string | undefined {
  for (const name of ["sslrootcert", "sslcrl", "sslcert", "sslkey"]) {
    const path = parameters.get(name);
    if (path === null || path === "system") continue;
    try {
      const text = readFileSync(path, "utf8");
      // They throw where there is none.
      void (name === "sslkey" ? createPrivateKey(keyOf(text, parameters)) : PARSE[name]?.(text));
    } catch (error) {
      const code = errorCode(error);
      const unread = /^E(?!RR_)/.test(code) ? `can not be read (${code})` : undefined;
      return `names with ${name} a file that ${unread ?? WRONG[name] ?? "is not right"}`;
    }
  }
  const key = parameters.get("sslkey");
  const cert = parameters.get("sslcert");
  if (key === null || cert === null) return undefined;
  if (othersMayRead(key))
    return "names with sslkey a file that others may read: chmod 600, or 640 where root owns it, as libpq demands";
  const pair = createPrivateKey(keyOf(readFileSync(key, "utf8"), parameters));
  return new X509Certificate(readFileSync(cert)).checkPrivateKey(pair)
    ? undefined
    : "names with sslkey a key that does not belong to the certificate of sslcert";
}

const PARSE: Readonly<Record<string, (text: string) => unknown>> = {
  sslrootcert: (text) => new X509Certificate(text),
  sslcert: (text) => new X509Certificate(text),
  // Not the contents: Node has no parser for it but the connection's own.
  sslcrl: () => undefined,
};

const WRONG: Readonly<Record<string, string>> = {
  sslrootcert: "holds no certificate (PEM)",
  sslcert: "holds no certificate (PEM)",
  sslkey: "holds no private key (PEM), or one that sslpassword does not open",
};

function keyOf(key: string, parameters: URLSearchParams): { key: string; passphrase?: string } {
  const passphrase = parameters.get("sslpassword");
  return passphrase === null ? { key } : { key, passphrase };
}

/** By libpq's rule: nobody but the owner; where root owns it, its group may read. Windows has no such bits. */
function othersMayRead(path: string): boolean {
  if (process.platform === "win32") return false;
  const { mode, uid } = statSync(path);
  return (mode & (uid === 0 ? 0o027 : 0o077)) !== 0;
}

function versionOf(value: string | null): SecureVersion | undefined {
  return value !== null && isVersion(value) ? value : undefined;
}

function isVersion(value: string): value is SecureVersion {
  return VERSIONS.some((version) => version === value);
}
