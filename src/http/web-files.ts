// The web configuration on disk: it and the certificates that it names are read again at each request and handshake, so
// that what rotates needs no restart. A file that can not be used closes the door: who broke it may have meant to shut
// somebody out.

import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type SecureContextOptions, createSecureContext } from "node:tls";
import { NeedsOperator, errorCode } from "../errors.ts";
import type { Log } from "../log.ts";
import { type Pem, type WebConfig, type WebTls, parseWebConfig } from "./web-config.ts";

/** What holds for requests and connections now. A new one for each change. */
export interface WebPolicy extends Pick<WebConfig, "headers" | "users"> {
  /** Null: plain HTTP. */
  readonly tls: SecureContextOptions | null;
  readonly clientAuth: WebTls["clientAuth"];
  /** When the server's certificate ends; null without one. */
  readonly validTo: Date | null;
}

type Read = (path: string) => string;
type Found = { readonly policy: WebPolicy } | { readonly mistakes: readonly string[] };

/** What is wrong with the file and with those that it names, in words that hold nothing of them. */
export function webConfigMistakes(path: string, read: Read): readonly string[] {
  const found = policyOf(path, read);
  return "mistakes" in found ? found.mistakes : [];
}

export class WebSettings {
  readonly #path: string;
  readonly #log: Log;
  /** The texts that the last look was made from; null: the file could not be read. */
  #seen: ReadonlyMap<string, string | null> = new Map();
  #found: Found;
  readonly #first: WebPolicy;

  /** Throws `NeedsOperator` when the file can not be used. */
  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    this.#found = this.#look();
    if ("mistakes" in this.#found)
      throw new NeedsOperator("the web configuration can not be used", {
        reason: "web_config",
        hint: `correct ${path}: ${this.#found.mistakes.join("; ")}`,
      });
    this.#first = this.#found.policy;
    this.#warnOfEnd(this.#first);
  }

  /** What holds now; null: nothing may be answered, which was logged. Reads some small files. */
  current(): WebPolicy | null {
    if ([...this.#seen].some(([path, text]) => textOf(path) !== text)) this.#change();
    return "policy" in this.#found ? this.#found.policy : null;
  }

  #look(): Found {
    const seen = new Map<string, string | null>();
    this.#seen = seen;
    return policyOf(this.#path, (path) => {
      const text = textOf(path);
      seen.set(path, text);
      if (text === null) return readFileSync(path, "utf8");
      return text;
    });
  }

  #change(): void {
    const before = this.#found;
    let found = this.#look();
    if ("policy" in found && !this.#fits(found.policy))
      found = {
        mistakes: ["tls_server_config: TLS or its client_auth_type changed: restart to take it"],
      };
    this.#found = found;
    if ("policy" in found) {
      this.#log.info("web configuration read again");
      this.#warnOfEnd(found.policy);
    } else if (!("mistakes" in before) || before.mistakes.join() !== found.mistakes.join()) {
      const { mistakes } = found;
      this.#log.error("the web configuration can not be used, no request is answered", {
        file: this.#path,
        mistakes,
      });
    }
  }

  /** A listening server keeps to TLS or not, and to whether it asks for certificates. */
  #fits({ tls, clientAuth }: WebPolicy): boolean {
    return (tls === null) === (this.#first.tls === null) && clientAuth === this.#first.clientAuth;
  }

  #warnOfEnd({ validTo }: WebPolicy): void {
    if (validTo !== null && validTo.getTime() < Date.now())
      this.#log.warn("the certificate of the HTTP server is past its end: clients will refuse it", {
        validTo,
      });
  }
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function policyOf(path: string, read: Read): Found {
  let yaml: string;
  try {
    yaml = read(path);
  } catch (error) {
    return { mistakes: [`can not be read (${errorCode(error)})`] };
  }
  const parsed = parseWebConfig(yaml);
  if ("mistakes" in parsed) return parsed;
  const { tls, headers, users } = parsed.config;
  if (tls === null) return { policy: { tls, headers, users, clientAuth: "none", validTo: null } };
  const mistakes: string[] = [];
  const pem = (name: string, where: Pem | null): string | undefined => {
    if (where === null) return undefined;
    if ("text" in where) return where.text;
    try {
      // Relative to the configuration's own folder.
      return read(resolve(dirname(path), where.file));
    } catch (error) {
      mistakes.push(`tls_server_config.${name}_file: can not be read (${errorCode(error)})`);
      return undefined;
    }
  };
  const cert = pem("cert", tls.cert);
  const key = pem("key", tls.key);
  const ca = pem("client_ca", tls.clientCa);
  const certificate = certificateIn("cert", cert, mistakes);
  certificateIn("client_ca", ca, mistakes);
  checkKey(key, certificate, mistakes);
  if (mistakes.length > 0) return { mistakes };
  const { minVersion, maxVersion, ciphers, ecdhCurve, honorCipherOrder, clientAuth } = tls;
  const limits = { minVersion, maxVersion, ciphers, ecdhCurve, honorCipherOrder };
  const options = { cert, key, ca, ...limits };
  try {
    createSecureContext(options);
  } catch (error) {
    return { mistakes: [`tls_server_config: can not be used (${errorCode(error)})`] };
  }
  const validTo = certificate === undefined ? null : new Date(certificate.validTo);
  return { policy: { tls: options, clientAuth, headers, users, validTo } };
}

/** The first certificate of a PEM text. */
function certificateIn(
  name: string,
  pem: string | undefined,
  mistakes: string[],
): X509Certificate | undefined {
  if (pem === undefined) return undefined;
  try {
    return new X509Certificate(pem);
  } catch {
    mistakes.push(`tls_server_config.${name}: holds no certificate (PEM)`);
    return undefined;
  }
}

function checkKey(
  pem: string | undefined,
  certificate: X509Certificate | undefined,
  mistakes: string[],
): void {
  if (pem === undefined) return;
  try {
    const key = createPrivateKey(pem);
    if (certificate?.checkPrivateKey(key) === false)
      mistakes.push("tls_server_config.key: does not belong to the certificate");
  } catch {
    mistakes.push("tls_server_config.key: holds no private key (PEM), or one with a passphrase");
  }
}
