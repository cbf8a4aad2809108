import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseDatabaseUrl, urlMistake } from "../../src/postgres/url.ts";

let folder: string;
let caPath: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "firstlight-ca-"));
  caPath = join(folder, "ca.pem");
  await writeFile(caPath, "PEM");
});
afterAll(() => rm(folder, { recursive: true }));

const ssl = (query: string, tls = {}) => parseDatabaseUrl(`postgres://u@h/d${query}`, tls).ssl;

test("sslmode means what libpq means", () => {
  expect(ssl("")).toBeUndefined();
  expect(ssl("?sslmode=disable")).toBe(false);
  expect(ssl("?sslmode=require")).toEqual({ rejectUnauthorized: false });
  expect(ssl("?sslmode=verify-full")).toEqual({});
  expect(ssl("?sslrootcert=system&sslmode=require")).toEqual({});
  expect(ssl("", { sslMode: "require" })).toEqual({ rejectUnauthorized: false });
});

test("a CA turns `require` into `verify-ca`, and no mode into `verify-full`", () => {
  const named = { ca: "PEM", checkServerIdentity: expect.any(Function) };
  expect(ssl("?sslmode=require", { caPath })).toEqual(named);
  expect(ssl("?sslmode=verify-ca", { caPath })).toEqual(named);
  expect(ssl("", { caPath })).toEqual({ ca: "PEM" });
  expect(ssl(`?sslrootcert=${caPath}&sslmode=verify-full`)).toEqual({ ca: "PEM" });
});

test("only who, where, TLS and libpq's options are taken over", () => {
  const config = parseDatabaseUrl(
    "postgres://u@h/d?replication=true&statement_timeout=5&application_name=x&options=-c%20a.b%3D1",
  );
  expect(config).toMatchObject({ options: "-c a.b=1", application_name: "firstlight" });
  expect(config).not.toHaveProperty("replication");
  expect(config).not.toHaveProperty("statement_timeout");
});

test("a Unix socket may be named as libpq does", () => {
  expect(parseDatabaseUrl("postgres://u@/d?host=/run/postgresql")).toMatchObject({
    host: "/run/postgresql",
    database: "d",
  });
});

test("a CA and sslmode=disable contradict each other", () => {
  expect(urlMistake("postgres://u@h/d?sslmode=disable", { caPath })).toContain(
    "although a CA is given",
  );
});
