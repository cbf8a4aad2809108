// The files of TLS that a database URL names, as they are at the start and at each connection.

import { chmod, copyFile, rm, writeFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { databaseReader, sourceMistakes, type UrlSource } from "../../src/postgres/url.ts";
import {
  type Authority,
  type Issued,
  MISSING_OPENSSL,
  createAuthority,
} from "../support/certificates.ts";

const title = MISSING_OPENSSL ? `SKIPPED, ${MISSING_OPENSSL}: ` : "";

describe.skipIf(MISSING_OPENSSL)(`${title}files of TLS`, { timeout: 30_000 }, () => {
  let authority: Authority;
  let client: Issued;

  beforeAll(async () => {
    authority = await createAuthority();
    client = await authority.issue({ name: "fl" });
  });
  afterAll(() => authority[Symbol.asyncDispose]());

  const source = (query: string): UrlSource => ({
    name: "DATABASE_URL",
    text: () => `postgres://u:c4nary-password@h/d?sslmode=verify-full${query}`,
    tls: { caPath: authority.ca },
  });
  const mistakes = (query: string): string[] => sourceMistakes(source(query), () => "");
  const said = (query: string): string => mistakes(query).join("\n");
  const file = (name: string): string => join(authority.folder, name);

  test("a certificate with its key is right", async () => {
    const query = `&sslcert=${client.cert}&sslkey=${client.key}`;
    expect(mistakes(query)).toEqual([]);
    expect((await databaseReader(source(query))()).ssl).toEqual({
      ca: expect.stringContaining("BEGIN CERTIFICATE"),
      cert: expect.stringContaining("BEGIN CERTIFICATE"),
      key: expect.stringContaining("PRIVATE KEY"),
    });
  });

  test("a key with a passphrase opens by sslpassword", async () => {
    const locked = file("locked.key");
    const args = ["pkey", "-aes256", "-passout", "pass:c4nary", "-in", client.key, "-out", locked];
    execFileSync("openssl", args);
    await chmod(locked, 0o600);
    const query = `&sslcert=${client.cert}&sslkey=${locked}`;
    const wrong =
      "DATABASE_URL: names with sslkey a file that holds no private key (PEM), or one that sslpassword does not open";
    expect(mistakes(query)).toEqual([wrong]);
    expect(mistakes(`${query}&sslpassword=other`)).toEqual([wrong]);
    expect(mistakes(`${query}&sslpassword=c4nary`)).toEqual([]);
  });

  test("each file that is wrong is named by its parameter", async () => {
    const other = await authority.issue();
    const garbage = file("garbage.pem");
    await writeFile(garbage, "c4nary");
    expect(said(`&sslcert=${client.cert}&sslkey=${other.key}`)).toBe(
      "DATABASE_URL: names with sslkey a key that does not belong to the certificate of sslcert",
    );
    expect(said(`&sslcert=${garbage}&sslkey=${client.key}`)).toBe(
      "DATABASE_URL: names with sslcert a file that holds no certificate (PEM)",
    );
    expect(said(`&sslcert=${client.cert}&sslkey=${file("none")}`)).toBe(
      "DATABASE_URL: names with sslkey a file that can not be read (ENOENT)",
    );
    expect(said(`&sslcrl=${file("none")}`)).toBe(
      "DATABASE_URL: names with sslcrl a file that can not be read (ENOENT)",
    );
    const withoutCa = { ...source(""), tls: { caPath: garbage } };
    expect(sourceMistakes(withoutCa, () => "")).toEqual([
      "DATABASE_URL: names with sslrootcert a file that holds no certificate (PEM)",
    ]);
  });

  test("a key that others may read is refused, as libpq does", async () => {
    const open = file("open.key");
    await copyFile(client.key, open);
    const query = `&sslcert=${client.cert}&sslkey=${open}`;
    await chmod(open, 0o644);
    expect(mistakes(query)).toEqual([expect.stringContaining("that others may read: chmod 600")]);
    // The group may read where the owner is root.
    await chmod(open, 0o640);
    expect(mistakes(query)).toHaveLength(process.getuid?.() === 0 ? 0 : 1);
    await chmod(open, 0o400);
    expect(mistakes(query)).toEqual([]);
  });

  test("a file that is being replaced is waited for", async () => {
    const cert = file("moving.crt");
    await copyFile(client.cert, cert);
    const read = databaseReader(source(`&sslcert=${cert}&sslkey=${client.key}`));
    await read();
    await rm(cert);
    await expect(read()).rejects.toMatchObject({
      name: "Transient",
      reason: "secret_unreadable",
      message: "the database URL names with sslcert a file that can not be read (ENOENT)",
    });
    await copyFile(client.cert, cert);
    await read();
  });
});
