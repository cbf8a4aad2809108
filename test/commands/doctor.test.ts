// What doctor says of what it saw: pure verdicts.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { storeFacts, storeVerdict } from "../../src/commands/doctor/store.ts";
import { NeedsOperator, Transient } from "../../src/errors.ts";
import { poolerVerdict, refusal } from "../../src/postgres/doctor/reach.ts";
import { type ServerFacts, serverVerdict } from "../../src/postgres/doctor/server.ts";
import { type SlotSight, slotVerdict } from "../../src/postgres/doctor/slot.ts";

const GB = 2 ** 30;

describe("the slot", () => {
  const WELL: SlotSight = {
    name: "firstlight",
    walStatus: "reserved",
    invalidation: null,
    retainedBytes: 100 * 2 ** 20,
    safeBytes: 10 * GB,
    catalogXminAge: 500,
    inUse: true,
    failover: null,
    rate: 2 ** 20,
    limit: 5 * GB,
    freezeAge: 200_000_000,
  };

  test("that is well is described", () => {
    expect(slotVerdict(WELL)).toEqual({
      found: [],
      about: [
        "slot firstlight: holds back 100 MB of WAL, is lost after 10.0 GB more, about 3 hours at 1.0 MB a second; its catalog_xmin is 500 transactions old",
      ],
    });
    expect(slotVerdict({ ...WELL, safeBytes: null }).about[0]).toContain(
      "may hold back any amount",
    );
    expect(slotVerdict({ ...WELL, rate: 0 }).about[0]).toContain("10.0 GB more, never at 0 B");
  });

  test.each<[string, Partial<SlotSight>, string, string]>([
    ["lost", { walStatus: "lost", invalidation: "wal_removed" }, "is lost (wal_removed)", "drop"],
    ["invalid", { invalidation: "rows_removed" }, "is lost (rows_removed)", "pg_drop"],
    ["not read", { inUse: false }, "nobody reads it, and holds back 100 MB", "firstlight serve"],
    ["not read, and new", { inUse: false, retainedBytes: 10 }, "nobody reads it", "pg_drop"],
    ["soon lost", { rate: 10 * 2 ** 20 }, "is lost in about 17 minutes", "= '141GB'"],
    ["at its end", { walStatus: "unreserved" }, "at the next checkpoint", "= '1GB'"],
    ["beyond", { safeBytes: -5 }, "at the next checkpoint", "max_slot_wal_keep_size"],
    ["too far behind", { retainedBytes: 6 * GB }, "holds back 6.0 GB, more", "--max-slot-lag 12GB"],
    ["old", { catalogXminAge: 150_000_000 }, "for 150,000,000 transactions", "pg_drop"],
  ])("that is %s is a risk", (_, sight, says, fix) => {
    const { found } = slotVerdict({ ...WELL, ...sight });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ check: "slot", severity: "risk" });
    expect(found[0]?.problem).toContain(says);
    expect(found[0]?.fix).toContain(fix);
  });

  test("that is not synchronised is a note, where a slot can be", () => {
    const [note] = slotVerdict({ ...WELL, failover: false }).found;
    expect(note).toMatchObject({ check: "failover", severity: "note" });
    expect(slotVerdict({ ...WELL, failover: true }).found).toEqual([]);
  });
});

describe("the server's settings", () => {
  const WELL: ServerFacts = {
    version: "18.4",
    number: 180_004,
    standby: false,
    walLevel: "logical",
    keepMegabytes: 10_240,
    primarySlot: "",
    idleSeconds: 0,
  };

  test.each<[Partial<ServerFacts>, readonly string[]]>([
    [{}, []],
    [{ keepMegabytes: 0 }, []],
    [{ keepMegabytes: -1 }, ["risk max_slot_wal_keep_size"]],
    [{ standby: true }, ["risk primary_slot_name"]],
    [{ standby: true, primarySlot: "one" }, []],
    [{ idleSeconds: 600 }, ["note idle_replication_slot_timeout"]],
    [{ idleSeconds: 86_400 }, []],
  ])("%j: %j", (facts, found) => {
    const verdict = serverVerdict({ ...WELL, ...facts });
    expect(verdict.map(({ severity, check }) => `${severity} ${check}`)).toEqual(found);
  });
});

const operator = (code: string, message: string): NeedsOperator =>
  new NeedsOperator(message, {
    reason: "x",
    hint: "the hint",
    cause: Object.assign(new Error(), { code }),
  });

describe("a connection that is refused", () => {
  const ADDRESS = {
    host: "db",
    port: 5433,
    user: "some body",
    database: "coder",
    password: "c4nary",
  };
  test.each([
    [
      "28000",
      'no entry for host "10.1.2.3", user "some body"',
      /^#.*\nhost "coder" "some body" 10\.1\.2\.3\/32 scram-sha-256$/,
    ],
    ["28000", "kein Eintrag für Host »fe80::1«", /fe80::1\/128/],
    ["28000", 'role "some body" is not permitted to log in', /^alter role "some body" with login;/],
    ["28P01", "password authentication failed", /put the right password into --database-url/],
    ["3D000", 'database "coder" does not exist', /name Coder's own database/],
    ["42501", "permission denied", /^grant connect on database "coder" to "some body";$/],
    ["53300", "too many connections", /^alter role "some body" connection limit -1;/],
    ["SELF_SIGNED_CERT_IN_CHAIN", "self-signed certificate", /^the hint$/],
  ])("%s, %s", (code, message, fix) => {
    const found = refusal("connection", operator(code, message), ADDRESS);
    expect(found.problem).toBe(`db:5433 does not let some body into database coder: ${message}`);
    expect(found.fix).toMatch(fix);
    expect(JSON.stringify(found)).not.toContain("c4nary");
  });

  test("by nobody: where it was looked for", () => {
    const cause = Object.assign(new Error(""), { code: "ECONNREFUSED" });
    const found = refusal(
      "connection",
      new Transient("", { reason: "unreachable", cause }),
      ADDRESS,
    );
    expect(found.problem).toMatch(/: ECONNREFUSED$/);
    expect(found.fix).toContain("check host and port");
  });

  test("a bug of ours is none", () => {
    expect(() => refusal("connection", new TypeError("x"), ADDRESS)).toThrow(TypeError);
  });

  test("a pooler gives another process number than the server's", () => {
    expect(poolerVerdict(4711, 4711)).toEqual([]);
    expect(poolerVerdict(null, 4711)).toEqual([]);
    expect(poolerVerdict(1, 4711)).toMatchObject([{ check: "pooler", severity: "problem" }]);
  });
});

describe("the store", () => {
  const WELL = {
    path: "/x/f.db",
    folder: "/x",
    fileSystem: 0xef53,
    freeBytes: 9 * GB,
    refusal: null,
  };

  test.each<[string, Partial<Parameters<typeof storeVerdict>[0]>, readonly string[]]>([
    ["on a local disk", {}, []],
    ["on NFS", { fileSystem: 0x6969 }, ["problem"]],
    ["on a disk that is nearly full", { freeBytes: 1_000 }, ["risk"]],
    ["refused", { refusal: { message: "m", hint: "h" } }, ["problem"]],
  ])("%s: %j", (_, facts, severities) => {
    const found = storeVerdict({ ...WELL, ...facts });
    expect(found.map(({ severity }) => severity)).toEqual(severities);
  });

  test("a path that can not be is refused, a store that is not there yet is not, and nothing is made", () => {
    const folder = mkdtempSync(join(tmpdir(), "firstlight-doctor-"));
    try {
      writeFileSync(join(folder, "file"), "");
      const said = (path: string) => storeFacts(join(folder, path)).refusal?.message;
      expect(said("file/firstlight.db")).toMatch(/can not be written: .*file is no folder$/);
      expect(said("new/folders/firstlight.db")).toBeUndefined();
      expect(said("file")).toBeUndefined();
      using newer = new DatabaseSync(join(folder, "newer.db"));
      newer.exec("pragma user_version = 999");
      expect(said("newer.db")).toContain("was written by a newer Firstlight");
      using foreign = new DatabaseSync(join(folder, "foreign.db"));
      foreign.exec("create table x (y)");
      expect(said("foreign.db")).toContain("is a database, but no store of Firstlight");
      expect(storeFacts(join(folder, "new/x.db")).folder).toBe(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
