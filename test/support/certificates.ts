// Certificates by openssl, as an operator makes them: authorities, servers, clients, and some past their end. Suites that
// need it skip loudly where it is not installed; in CI it must be.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Why these suites can not run here; undefined when they can, and in CI. */
export const MISSING_OPENSSL: string | undefined =
  process.env["CI"] || spawnSync("openssl", ["version"]).status === 0
    ? undefined
    : "openssl is not installed";

/** Elliptic keys: made in a few milliseconds, where RSA takes up to a second. */
const NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

export interface Issued {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

/** All are for the host `localhost`. */
export interface Wanted {
  /** The common name; default `localhost`. */
  readonly name?: string;
  /** Default: one day; below 0: it has ended. */
  readonly days?: number;
}

export interface Authority extends AsyncDisposable {
  /** Its own certificate. */
  readonly ca: string;
  /** The folder of its files, removed on dispose. */
  readonly folder: string;
  issue(wanted?: Wanted): Promise<Issued>;
}

let made = 0;

/** A private CA. Several may have the same name: then only the signature tells them apart. */
export async function createAuthority(name = "Firstlight-test-CA"): Promise<Authority> {
  const folder = await mkdtemp(join(tmpdir(), "firstlight-tls-"));
  const openssl = (words: string): void =>
    void execFileSync("openssl", words.split(" "), { cwd: folder, stdio: "ignore" });
  openssl(`req -x509 ${NEW_KEY} -days 2 -subj /CN=${name} -keyout ca.key -out ca.crt`);
  return {
    ca: join(folder, "ca.crt"),
    folder,
    async issue({ name: subject = "localhost", days = 1 } = {}) {
      const stem = `issued-${++made}`;
      await writeFile(join(folder, `${stem}.ext`), "subjectAltName=DNS:localhost\n");
      openssl(`req ${NEW_KEY} -subj /CN=${subject} -keyout ${stem}.key -out ${stem}.csr`);
      openssl(
        `x509 -req -in ${stem}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days ${days} -extfile ${stem}.ext -out ${stem}.crt`,
      );
      return { cert: join(folder, `${stem}.crt`), key: join(folder, `${stem}.key`) };
    },
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true, force: true });
    },
  };
}
