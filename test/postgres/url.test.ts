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
  expect(ssl("?sslrootcert=system&sslmode=require")).toEqual({ ca: expect.any(Array) });
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

test.each([
  ["?sslmode=prefer", {}, "has an sslmode that must be one of disable, require"],
  ["", { sslMode: "allow" }, "gets from PGSSLMODE an sslmode that must be one of disable, require"],
  ["?sslmode=verify-ca", {}, "no CA is given"],
  ["?ssl=prefer", {}, "has an ssl that must be true or false"],
  ["?sslmode=verify-full&sslcert=/c4nary.crt", {}, "must have sslcert and sslkey, or neither"],
  ["?sslmode=verify-full&sslkey=/c4nary.key", {}, "must have sslcert and sslkey, or neither"],
  ["?sslmode=disable&sslcert=/c4nary.crt&sslkey=/k", {}, "although a client certificate is given"],
  ["?sslmode=disable&sslrootcert=/c4nary.crt", {}, "although a CA is given"],
  ["?ssl_min_protocol_version=c4nary", {}, "has an ssl_min_protocol_version that must be one of"],
  ["?channel_binding=require", {}, "has a channel_binding that can not be kept: leave it out"],
  ["?require_auth=c4nary", {}, "has a require_auth that can not be kept: leave it out"],
  ["?sslcrldir=/c4nary", {}, "has a sslcrldir that can not be kept: name one file with sslcrl"],
])("%s is a mistake, told without its value", (query, tls, words) => {
  const mistake = urlMistake(`postgres://u:c4nary@h/d${query}`, tls);
  expect(mistake).toContain(words);
  expect(mistake).not.toContain("c4nary");
});

test("what asks for no more than we do is no mistake", () => {
  expect(urlMistake("postgres://u@h/d?channel_binding=prefer&gssencmode=disable")).toBeUndefined();
  expect(ssl("?ssl=true")).toBe(true);
  expect(ssl("?ssl=false")).toBeUndefined();
  expect(ssl("?sslnegotiation=direct")).toBe(true);
  expect(ssl("?sslmode=require&ssl_min_protocol_version=TLSv1.3")).toEqual({
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  });
});
