// Secrets and certificates of the database, as a process meets them: wrong at the start, and replaced while it follows.

import { execFile } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Authority, MISSING_OPENSSL, createAuthority } from "./support/certificates.ts";
import {
  type Firstlight,
  STREAMING,
  outsideEnvironment,
  startProcess,
  uniqueSlot,
  until,
} from "./support/firstlight.ts";
import { PASSWORD, type TlsServer, startTlsServer } from "./support/tls-server.ts";

const MAIN = new URL("../src/main.ts", import.meta.url).pathname;
const run = promisify(execFile);
const title = MISSING_OPENSSL ? `SKIPPED, ${MISSING_OPENSSL}: ` : "";

interface Status {
  readonly state: string;
  readonly trouble: { readonly reason: string; readonly hint: string | null } | null;
}

const statusOf = async (firstlight: Firstlight): Promise<Status> =>
  (await (await firstlight.get("/api/status")).json()) as Status;

/** Until it follows again, with all that is committed. */
async function following(firstlight: Firstlight): Promise<void> {
  await until("following", async () => (await statusOf(firstlight)).state === "following", 40_000);
}

describe.skipIf(MISSING_OPENSSL)(`${title}secrets of the database`, () => {
  let authority: Authority;
  let strangers: Authority;
  let server: TlsServer;

  beforeAll(async () => {
    authority = await createAuthority();
    strangers = await createAuthority();
    server = await startTlsServer(authority);
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await strangers[Symbol.asyncDispose]();
    await authority[Symbol.asyncDispose]();
  });

  const file = (name: string): string => join(authority.folder, name);

  async function sql(...statements: readonly string[]): Promise<void> {
    await using admin = await server.admin();
    for (const statement of statements) await admin.query(statement);
  }

  /** What a start with these settings ends with. */
  async function startWith(env: Readonly<Record<string, string>>) {
    const settings = {
      FIRSTLIGHT_STATE: file("refused.db"),
      FIRSTLIGHT_LISTEN: "127.0.0.1:0",
      ...env,
    };
    const whole = { ...outsideEnvironment(), ...settings };
    const ended = await run(process.execPath, [MAIN, "serve"], {
      env: whole,
      timeout: 40_000,
    }).then(
      () => ({ code: 0, stderr: "" }),
      (error: { code: number; stderr: string }) => error,
    );
    expect(ended.stderr).not.toContain("c4nary");
    return { code: ended.code, said: ended.stderr };
  }

  test("what is wrong at the first start ends it with what to do", async () => {
    const url = server.url("fl", { password: PASSWORD });
    const base = { FIRSTLIGHT_DATABASE_URL: url };
    expect(await startWith({ ...base, FIRSTLIGHT_DATABASE_CA: strangers.ca })).toEqual({
      code: 3,
      said: expect.stringMatching(/What to do: .*--database-ca/),
    });
    expect(await startWith({ ...base, PGSSLMODE: "disable" })).toEqual({
      code: 3,
      said: expect.stringMatching(/What to do: .*sslmode=require/),
    });
    const wrong = server.url("fl", { password: "c4nary-wrong" });
    expect(
      await startWith({ FIRSTLIGHT_DATABASE_URL: wrong, FIRSTLIGHT_DATABASE_CA: authority.ca }),
    ).toEqual({ code: 3, said: expect.stringMatching(/What to do: .*--database-password-file/) });
    expect(await startWith({ ...base, PGSSLMODE: "prefer" })).toEqual({
      code: 2,
      said: expect.stringContaining("FIRSTLIGHT_DATABASE_URL: gets from PGSSLMODE an sslmode"),
    });
  });

  test("a password file is read again when the password rotates under a serve that runs", async () => {
    const password = file("password");
    await writeFile(password, `${PASSWORD}\n`);
    await chmod(password, 0o600);
    await using firstlight = await startProcess({
      url: server.url("fl"),
      slot: uniqueSlot(),
      statePath: file("rotated.db"),
      env: { FIRSTLIGHT_DATABASE_CA: authority.ca, FIRSTLIGHT_DATABASE_PASSWORD_FILE: password },
    });
    await following(firstlight);

    // The server first, as a rotation that is late with the file: it is said what is wrong, and tried again.
    await sql(
      "alter role fl password 'c4nary-next'",
      "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fl'",
    );
    await until("the trouble is told", async () => {
      const { trouble } = await statusOf(firstlight);
      return trouble?.reason === "authentication";
    });
    const page = await (await firstlight.get("/")).text();
    expect(page).toContain("or in the file that --database-password-file names");
    await writeFile(password, "");
    await until("an empty file is told", async () => {
      const { trouble } = await statusOf(firstlight);
      return trouble?.reason === "secret_unreadable";
    });
    await writeFile(password, "c4nary-next");
    await following(firstlight);

    const log = firstlight.log.join("\n");
    expect(log).toContain("--database-password-file names");
    expect(log + page).not.toContain("c4nary");
    expect(await firstlight.terminate()).toBe(0);
  });

  test("a certificate of the server that ends is told while it is tried again, and its successor is followed", async () => {
    const client = await authority.issue({ name: "fl_cert" });
    const query = `?sslmode=verify-full&sslcert=${client.cert}&sslkey=${client.key}`;
    await using firstlight = await startProcess({
      url: server.url("fl_cert", { password: PASSWORD, query }),
      slot: uniqueSlot(),
      statePath: file("certified.db"),
      // By a stream, whose connections another library makes.
      env: { FIRSTLIGHT_DATABASE_CA: authority.ca, ...STREAMING },
    });
    await following(firstlight);
    await server.install(await authority.issue({ days: -1 }));
    const drop = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fl_cert'";
    // The new certificate is for new connections, once the server has taken it.
    await until("the trouble is told", async () => {
      await sql(drop);
      const { trouble } = await statusOf(firstlight);
      return trouble?.reason === "tls";
    });
    expect((await statusOf(firstlight)).trouble).toMatchObject({
      message: "certificate has expired",
      hint: expect.stringContaining("renew it there"),
    });
    await server.install(await authority.issue());
    await following(firstlight);
    expect(firstlight.log.join("\n")).not.toContain("c4nary");
  });
});
