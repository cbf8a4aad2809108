// A database URL as `pg` needs it, with TLS as libpq means it.
//
// One difference: libpq's default, `sslmode=prefer`, falls back to plain text in silence. `pg` can not, and should not: without
// an sslmode the connection is plain, and `prefer` and `allow` are refused.

import type { ClientConfig } from "pg";
import { parse, toClientConfig } from "pg-connection-string";
import { Transient } from "../errors.ts";
import { readTls, tlsFileMistake, tlsMistake } from "./tls.ts";

export interface TlsOptions {
  /** File with the certificate authorities to trust (PEM). Without an sslmode it means `verify-full`. */
  readonly caPath?: string | undefined;
  /** Used where the URL has no sslmode: `PGSSLMODE`. */
  readonly sslMode?: string | undefined;
}

/** What is wrong with a database URL, in words that never hold a part of it; undefined when nothing is. Reads no file. */
export function urlMistake(text: string, tls: TlsOptions = {}): string | undefined {
  if (!/^postgres(ql)?:\/\//.test(text)) return "must begin with postgres:// or postgresql://";
  const { address, parameters, own } = withTls(text, tls);
  try {
    toClientConfig(parse(address));
  } catch {
    return "is not a URL: special characters in the user name or the password must be percent-encoded";
  }
  const modeFrom = own.has("sslmode") ? "has an sslmode" : "gets from PGSSLMODE an sslmode";
  return tlsMistake(parameters, { caGiven: tls.caPath !== undefined, modeFrom });
}

/**
 * Parses a database URL that has no mistake, and reads the files that it names (sslrootcert, sslcert, sslkey, sslcrl). Only
 * who, where, TLS and libpq's `options` are taken over: no other parameter may change how we connect.
 */
export function parseDatabaseUrl(text: string, tls: TlsOptions = {}): ClientConfig {
  const mistake = urlMistake(text, tls);
  if (mistake !== undefined) throw new Error(`the database URL ${mistake}`);
  const { address, parameters } = withTls(text, tls);
  const ssl = readTls(parameters);
  // The library would read the files of TLS itself.
  const rest = new URLSearchParams([...parameters].filter(([name]) => !name.startsWith("ssl")));
  const all = toClientConfig(parse(`${address}?${rest}`));
  const { host, port, user, password, database, options } = all;
  const sslnegotiation = parameters.get("sslnegotiation") === "direct" ? "direct" : undefined;
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

/** `parameters` with what the options add; `own`: the URL's alone. */
function withTls(
  text: string,
  { caPath, sslMode }: TlsOptions,
): { address: string; parameters: URLSearchParams; own: URLSearchParams } {
  const [address = "", ...query] = text.split("?");
  const own = new URLSearchParams(query.join("?"));
  const parameters = new URLSearchParams(own);
  if (caPath !== undefined) parameters.set("sslrootcert", caPath);
  // libpq 16's word for the authorities that the system trusts, and with it a full check.
  const system = parameters.get("sslrootcert") === "system";
  const mode =
    parameters.get("sslmode") ?? sslMode ?? (caPath === undefined ? undefined : "verify-full");
  if (system || mode !== undefined)
    parameters.set("sslmode", system ? "verify-full" : String(mode));
  return { address, parameters, own };
}

/** Where a database URL comes from. */
export interface UrlSource {
  /** The flag or variable, to name it in a mistake. */
  readonly name: string;
  /** The URL as of now; throws when its file can not be read. */
  readonly text: () => string;
  /** The password as of now, where it comes by itself; throws when its file can not be read. */
  readonly password?: PasswordSource | undefined;
  readonly tls: TlsOptions;
}

export interface PasswordSource {
  readonly name: string;
  readonly text: () => string;
}

/** What is wrong with a source at the start of the process, a line each. */
export function sourceMistakes(source: UrlSource, readFile: (path: string) => string): string[] {
  const mistakes: string[] = [];
  const { caPath } = source.tls;
  const caUnread = caPath !== undefined && attempt(() => readFile(caPath)) === undefined;
  if (caUnread) mistakes.push(`--database-ca ${JSON.stringify(caPath)}: can not be read`);
  const password = passwordMistake(source);
  if (password !== undefined) mistakes.push(`${source.password?.name}: ${password}`);
  const mistake = mistakeNow(source, { files: !caUnread });
  if (mistake !== undefined) mistakes.push(`${source.name}: ${mistake}`);
  return mistakes;
}

/** How to connect, read anew at each call. Throws `Transient`: what was right at the start is being replaced. */
export function databaseReader(source: UrlSource): () => Promise<ClientConfig> {
  return async () => {
    const mistake = mistakeNow(source, { files: true });
    const password = passwordMistake(source);
    try {
      if (mistake === undefined && password === undefined) {
        const config = parseDatabaseUrl(source.text(), source.tls);
        return source.password === undefined
          ? config
          : { ...config, password: source.password.text() };
      }
    } catch (cause) {
      throw new Transient("the database URL or a file that it names can not be read", {
        reason: "secret_unreadable",
        cause,
      });
    }
    const message =
      mistake === undefined ? `the database password ${password}` : `the database URL ${mistake}`;
    throw new Transient(message, { reason: "secret_unreadable" });
  };
}

/** What is wrong with the URL as it is now and, on demand, with the files of TLS that it names. */
function mistakeNow(source: UrlSource, { files }: { files: boolean }): string | undefined {
  const text = attempt(source.text);
  if (text === undefined) return "names a file that can not be read";
  const mistake = urlMistake(text, source.tls);
  if (mistake !== undefined) return mistake;
  const { address, parameters } = withTls(text, source.tls);
  if (source.password !== undefined && (parse(address).password || parameters.has("password")))
    return `holds a password, although ${source.password.name} is given; take one of them away`;
  return files ? tlsFileMistake(parameters) : undefined;
}

function passwordMistake({ password }: UrlSource): string | undefined {
  if (password === undefined) return undefined;
  const text = attempt(password.text);
  if (text === undefined) return "names a file that can not be read";
  return text === "" ? "names an empty file" : undefined;
}

function attempt(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
