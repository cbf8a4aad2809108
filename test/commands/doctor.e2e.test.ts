// `doctor` as a process: exit codes, what it prints, and that no secret is in it.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../../src/demo/server.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { outsideEnvironment, startProcess, uniqueSlot } from "../support/firstlight.ts";
import { NO_STORE, type Prepared, examined, prepared, short } from "./support/doctor.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const CANARY = "c4nary-password";
const run = promisify(execFile);

async function doctor(url: string, ...args: readonly string[]) {
  const { DATABASE_URL: _, ...outside } = outsideEnvironment();
  const env = { ...outside, FIRSTLIGHT_DATABASE_URL: url, FIRSTLIGHT_STATE: NO_STORE };
  try {
    const { stdout, stderr } = await run(process.execPath, [MAIN, "doctor", ...args], { env });
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, out: stdout, err: stderr };
  }
}

interface Document {
  readonly findings: readonly {
    readonly check: string;
    readonly severity: string;
    readonly problem: string;
    readonly fix: string;
  }[];
}

describe("on a database", () => {
  let scene: Prepared;
  beforeAll(async () => {
    scene = await prepared();
    await scene.admin.query(`alter role ${scene.role} password '${CANARY}'`);
  });
  afterAll(async () => scene[Symbol.asyncDispose]());
  const url = (): string => scene.database.urlAs(scene.role, CANARY);

  test("a finding is 1, in text with its fix and in JSON alike", async () => {
    const text = await doctor(url());
    expect(text).toMatchObject({ code: 1, err: "" });
    expect(text.out).toMatch(
      /^risk max_slot_wal_keep_size: .*\n {4}alter system set max_slot_wal_keep_size = '10GB';/,
    );
    expect(text.out).toMatch(/\n0 problems, 1 risk, 2 notes\n$/);
    const json = await doctor(url(), "--json");
    expect(json).toMatchObject({ code: 1, err: "" });
    const { findings } = JSON.parse(json.out) as Document;
    expect(findings.map(({ check, severity }) => [check, severity])).toEqual([
      ["max_slot_wal_keep_size", "risk"],
      ["publication", "note"],
      ["families", "note"],
    ]);
    for (const finding of findings) {
      expect(Object.keys(finding).toSorted()).toEqual(["check", "fix", "problem", "severity"]);
      expect(finding.fix).not.toBe("");
    }
    expect(text.out + json.out).not.toContain(CANARY);
  });

  test("without a URL it is wrong usage: 2", async () => {
    expect(await doctor("")).toMatchObject({ code: 2, out: "" });
  });

  test.each([
    [
      "a server that is not there",
      async () => `postgres://me:${CANARY}@127.0.0.1:${await freePort()}/coder`,
      "127.0.0.1:",
    ],
    [
      "a host that is not there",
      async () => `postgres://me:${CANARY}@no-such-host.invalid/coder`,
      "no-such-host.invalid:5432",
    ],
    ["a database that is not there", async () => `${url()}_not`, "_not: database"],
    [
      "a role that is not there",
      async () => scene.database.urlAs("nobody_here", CANARY),
      "nobody_here",
    ],
  ])("%s is a finding: 1, and its fix, and no secret", async (_what, where, says) => {
    const { code, out, err } = await doctor(await where(), "--json");
    expect({ code, err }).toEqual({ code: 1, err: "" });
    const [finding] = (JSON.parse(out) as Document).findings;
    expect(finding).toMatchObject({ check: "connection", severity: "problem" });
    expect(finding?.problem).toContain(says);
    expect(finding?.fix).not.toBe("");
    expect(out).not.toContain(CANARY);
  });

  test("so it is where an estimate is asked for", async () => {
    const { code, out } = await doctor(`${url()}_not`, "--estimate");
    expect(code).toBe(1);
    expect(out).toMatch(/^problem connection: .*_not: database/);
  });

  test("beside a serve that follows, slot and ledger are in use, and nothing is wrong with that", async () => {
    await using folder = await temporaryFolder();
    const statePath = folder.path("firstlight.db");
    const slot = uniqueSlot();
    await using serve = await startProcess({ url: url(), statePath, slot });
    await serve.caughtUp();
    const { findings, about } = await examined({ url: url(), slot, state: statePath });
    expect(short(findings.filter(({ severity }) => severity !== "note"))).toEqual([
      expect.stringMatching(/^risk max_slot_wal_keep_size: /),
    ]);
    expect(about[1]).toContain(`slot ${slot}: holds back `);
  });

  test("--estimate says what following would take, from statistics alone: 0", async () => {
    await scene.admin.query("analyze");
    const { code, out, err } = await doctor(url(), "--estimate");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const line of [
      /^series: about [\d,]+$/m,
      / {2}coderd_workspace_builds_total$/m,
      /^baseline: about 0 builds and agents, /m,
      /^WAL of the server at wal_level = logical: about .* a day \(measured for 1\d s: /m,
      /^what polling costs today: not known, pg_stat_statements is not installed in this database$/m,
    ])
      expect(out).toMatch(line);
  });
});
