// A database URL as `pg` needs it, with TLS as libpq means it.
//
// One difference: libpq's default, `sslmode=prefer`, falls back to plain text in silence. `pg` can not, and should not: without
// an sslmode the connection is plain, and `prefer` and `allow` are refused.

import type { ClientConfig } from "pg";
import { parse, toClientConfig } from "pg-connection-string";
import { Transient } from "../errors.ts";

const SSL_MODES = ["disable", "require", "verify-ca", "verify-full"];

export interface TlsOptions {
  /** File with the certificate authorities to trust (PEM). Without an sslmode it means `verify-full`. */
  readonly caPath?: string | undefined;
  /** Used where the URL has no sslmode: `PGSSLMODE`. */
  readonly sslMode?: string | undefined;
}

/** What is wrong with a database URL, in words that never hold a part of it; undefined when nothing is. Reads no file. */
export function urlMistake(text: string, tls: TlsOptions = {}): string | undefined {
  if (!/^postgres(ql)?:\/\//.test(text)) return "must begin with postgres:// or postgresql://";
  const { address, parameters } = withTls(text, tls);
  try {
    toClientConfig(parse(address));
  } catch {
    return "is not a URL: special characters in the user name or the password must be percent-encoded";
  }
  const mode = parameters.get("sslmode");
  if (mode === null) return undefined;
  if (!SSL_MODES.includes(mode))
    return `has an sslmode that must be one of ${SSL_MODES.join(", ")}`;
  if (mode === "disable" && tls.caPath !== undefined)
    return "has sslmode=disable, although a CA is given";
  if (mode === "verify-ca" && !parameters.has("sslrootcert"))
    return "has sslmode=verify-ca, but no CA is given";
  return undefined;
}

/**
 * Parses a database URL that has no mistake, and reads the files that it names (sslrootcert, sslcert, sslkey). Only who,
 * where, TLS and libpq's `options` are taken over: no other parameter may change how we connect.
 */
export function parseDatabaseUrl(text: string, tls: TlsOptions = {}): ClientConfig {
  const mistake = urlMistake(text, tls);
  if (mistake !== undefined) throw new Error(`the database URL ${mistake}`);
  const { address, parameters } = withTls(text, tls);
  const all = toClientConfig(parse(`${address}?${parameters}`, { useLibpqCompat: true }));
  const { host, port, user, password, database, options, ssl, sslnegotiation } = all;
  return {
    host,
    port,
    user,
    password,
    database,
    options,
    ssl,
    sslnegotiation,
    application_name: "firstlight",
  };
}

function withTls(
  text: string,
  { caPath, sslMode }: TlsOptions,
): { address: string; parameters: URLSearchParams } {
  const [address = "", ...query] = text.split("?");
  const parameters = new URLSearchParams(query.join("?"));
  if (caPath !== undefined) parameters.set("sslrootcert", caPath);
  // libpq 16's word for the authorities that the system trusts: what TLS uses when none is named, and with it a full check.
  const system = parameters.get("sslrootcert") === "system";
  if (system) parameters.delete("sslrootcert");
  const mode =
    parameters.get("sslmode") ?? sslMode ?? (caPath === undefined ? undefined : "verify-full");
  if (system || mode !== undefined)
    parameters.set("sslmode", system ? "verify-full" : String(mode));
  return { address, parameters };
}

/** Where a database URL comes from. */
export interface UrlSource {
  /** The flag or variable, to name it in a mistake. */
  readonly name: string;
  /** The URL as of now; throws when its file can not be read. */
  readonly text: () => string;
  readonly tls: TlsOptions;
}

/** What is wrong with a source at the start of the process, a line each. */
export function sourceMistakes(source: UrlSource, readFile: (path: string) => string): string[] {
  const mistakes: string[] = [];
  const { caPath } = source.tls;
  if (caPath !== undefined && attempt(() => readFile(caPath)) === undefined) {
    mistakes.push(`--database-ca ${JSON.stringify(caPath)}: can not be read`);
  }
  const text = attempt(source.text);
  const mistake =
    text === undefined ? "names a file that can not be read" : urlMistake(text, source.tls);
  if (mistake !== undefined) mistakes.push(`${source.name}: ${mistake}`);
  return mistakes;
}

/** How to connect, read anew at each call. Throws `Transient`: what was right at the start is being replaced. */
export function databaseReader(source: UrlSource): () => Promise<ClientConfig> {
  return async () => {
    try {
      return parseDatabaseUrl(source.text(), source.tls);
    } catch (cause) {
      const message = "the database URL or a file that it names can not be read";
      throw new Transient(message, { reason: "secret_unreadable", cause });
    }
  };
}

function attempt(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
