// Misconfigurations of a whole server: its settings, its slots, who is let in.

import { appendFile, readFile, writeFile } from "node:fs/promises";
import { must } from "../../src/errors.ts";
import { join } from "node:path";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { setupText } from "../../src/commands/setup/text.ts";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { type Server, startServer } from "../../src/demo/server.ts";
import { POSTGRES } from "../matrix/binaries.ts";
import { connect } from "../support/standby.ts";
import { pollingOf } from "../../src/postgres/doctor/sizes.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { urlAs } from "../support/database.ts";
import { examined, findingsOf, only, runFix, short } from "./support/doctor.ts";
import { blocksOf } from "../support/blocks.ts";

const PASSWORD = "c4nary-password";
const SLOT = "firstlight";

/** Statements of a fix by a superuser, on a connection of its own. */
async function fixed(server: Server, fix: string): Promise<void> {
  await using admin = await connect(server.url());
  await runFix(fix, admin);
  // What is printed says when a restart is needed.
  if (!/-- (then|and) restart/.test(fix)) return;
  await server.stop("fast");
  await server.start();
}

async function prepare(server: Server): Promise<string> {
  await using admin = await connect(server.url());
  await createCoderSchema(admin);
  const [, roles = ""] = /(create role .*;)/.exec(SETUP) ?? [];
  await admin.query(roles);
  await runFix(must(blocksOf(SETUP).get(2), "no block for the owner"), admin);
  await admin.query(`alter role firstlight password '${PASSWORD}'`);
  return urlAs(server.url(), "firstlight", PASSWORD);
}

const SETUP = setupText({ publication: "firstlight", role: "firstlight", wholeTables: false });

test("a server that is not set up at all: each fix heals its own finding", async () => {
  const settings = {
    wal_level: "replica",
    max_replication_slots: "1",
    max_wal_senders: "1",
    fsync: "off",
  };
  await using server = await startServer({ settings });
  const url = await prepare(server);
  const wanted = [
    ["wal_level", "problem", "wal_level is replica"],
    ["slots", "problem", "0 of 1 replication slots are used"],
    ["walsenders", "problem", "of 1 walsenders are used"],
    ["max_slot_wal_keep_size", "risk", "unlimited"],
  ] as const;
  const found = async () =>
    (await examined({ url, slot: SLOT })).findings.filter(({ severity }) => severity !== "note");
  expect((await found()).map(({ check, severity }) => [check, severity])).toEqual(
    wanted.map(([check, severity]) => [check, severity]),
  );
  for (const [done, [check, , says]] of wanted.entries()) {
    const findings = await found();
    await fixed(server, only(findings, check, says).fix);
    const left = wanted.slice(done + 1).map(([name]) => name);
    expect((await found()).map(({ check: name }) => name)).toEqual(left);
  }
});

describe("a server of its own", () => {
  let server: Server;
  let url: string;
  let admin: pg.Client & AsyncDisposable;
  beforeAll(async () => {
    const settings = {
      max_slot_wal_keep_size: "64MB",
      min_wal_size: "32MB",
      max_wal_size: "1GB",
      fsync: "off",
    };
    server = await startServer({ settings });
    url = await prepare(server);
    admin = await connect(server.url());
  });
  afterAll(async () => {
    await admin[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const found = () => findingsOf({ url, slot: SLOT });
  const noted = async () =>
    (await examined({ url, slot: SLOT })).findings.filter(({ check }) => check === "failover");
  const makeSlot = (plugin = "pgoutput") =>
    admin.query("select pg_create_logical_replication_slot($1, $2)", [SLOT, plugin]);
  afterEach(async () => {
    await admin.query(
      "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1",
      [SLOT],
    );
  });
  /** Each switch ends a segment of 16 MB. */
  async function writeSegments(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1)
      await admin.query("select pg_logical_emit_message(false, 'x', 'x'), pg_switch_wal()");
  }

  test("without a finding", async () => {
    expect(short(await found())).toEqual([]);
  });

  test("a slot that nobody reads", async () => {
    await makeSlot();
    const finding = only(await found(), "slot", "is there, but nobody reads it");
    expect(finding.severity).toBe("risk");
    await runFix(finding.fix, admin);
    expect(short(await found())).toEqual([]);
  });

  test("a slot that a Firstlight reads in bursts is in use, though nobody holds it", async () => {
    await makeSlot();
    await using follower = await connect(url);
    await follower.query("select pg_advisory_lock($1::int, hashtext($2))", [0x66_6c_73_6c, SLOT]);
    expect(short(await found())).toEqual([]);
    const { about, findings } = await examined({ url, slot: SLOT });
    expect(about[1]).toMatch(
      /^slot firstlight: holds back .+ of WAL, is lost after .+ more, (about|never) .+ a second; its catalog_xmin is \d+ trans/,
    );
    expect(findings.map(({ check }) => check)).toContain("failover");
  });

  test.skipIf(POSTGRES < 17)("a slot that a failover would lose", async () => {
    await makeSlot();
    const { fix } = only(await noted(), "failover", "is not synchronised to standbys");
    // On the connection that it asks for.
    const [, command = ""] = /^(ALTER_REPLICATION_SLOT .*); -- on a replication/.exec(fix) ?? [];
    const options: object = { connectionString: server.url(), replication: "database" };
    const replication = new pg.Client(options);
    await replication.connect();
    await replication.query(command);
    await replication.end();
    expect(short(await noted())).toEqual([]);
  });

  test("a slot that holds back almost too much, more than its limit, and then is lost", async () => {
    await makeSlot();
    await writeSegments(3);
    const lagging = only(await found(), "slot", "more than serve lets it");
    const [, maxSlotLag = ""] = /^give --max-slot-lag (\S+)$/.exec(lagging.fix) ?? [];
    const findings = await findingsOf({ url, slot: SLOT, flags: { maxSlotLag } });
    expect(short(findings).filter((text) => text.includes("than serve lets it"))).toEqual([]);
    await writeSegments(2);
    const unreserved = only(await found(), "slot", "is lost at the next checkpoint");
    await runFix(unreserved.fix, admin);
    await expect
      .poll(async () => short(await found()).filter((text) => text.includes("checkpoint")))
      .toEqual([]);
    await admin.query("alter system set max_slot_wal_keep_size = '64MB'");
    await admin.query("select pg_reload_conf()");
    await writeSegments(3);
    await admin.query("checkpoint");
    const lost = only(await found(), "slot", "is lost (");
    expect(lost.severity).toBe("risk");
    await runFix(lost.fix, admin);
    expect(short(await found())).toEqual([]);
  });

  test("a slot of somebody else's", async () => {
    await admin.query("select pg_create_physical_replication_slot($1)", [SLOT]);
    const finding = only(await found(), "slot", "exists, but for physical replication");
    expect(finding.fix).toContain("choose another name with --slot");
    expect(short(await findingsOf({ url, slot: "another" }))).toEqual([]);
  });

  test("a role that may not log in", async () => {
    await admin.query("alter role firstlight with nologin");
    const finding = only(await found(), "connection", "does not let firstlight into");
    await runFix(finding.fix, admin);
    expect(short(await found())).toEqual([]);
  });

  test("a database that the role may not connect to", async () => {
    await admin.query("revoke connect on database postgres from public");
    const finding = only(await found(), "connection", "does not let firstlight into");
    await runFix(finding.fix, admin);
    expect(short(await found())).toEqual([]);
  });

  test("a role with a limit of connections", async () => {
    await admin.query("alter role firstlight connection limit 1");
    const finding = only(await found(), "connection", "too many connections");
    await runFix(finding.fix, admin);
    expect(short(await found())).toEqual([]);
  });

  test("no line in pg_hba.conf: it is given, with the address that the server sees", async () => {
    const path = join(server.dataDir, "pg_hba.conf");
    const trusting = await readFile(path, "utf8");
    await writeFile(path, "host all postgres 127.0.0.1/32 trust\n");
    await admin.query("select pg_reload_conf()");
    await expect.poll(async () => short(await found())[0]).toContain("no pg_hba.conf entry");
    const finding = only(await found(), "connection", "no pg_hba.conf entry");
    const [comment, line] = finding.fix.split("\n");
    expect(line).toBe('host "postgres" "firstlight" 127.0.0.1/32 scram-sha-256');
    await appendFile(path, `${line}\n`);
    const [, sql = ""] = /then: (.*)$/.exec(comment ?? "") ?? [];
    await runFix(sql, admin);
    await expect.poll(async () => short(await found())).toEqual([]);

    // That line asks for the password, which is another one now.
    await admin.query("alter role firstlight password 'n3w-c4nary'");
    const refused = only(await found(), "connection", "password");
    expect(JSON.stringify(refused)).not.toMatch(/c4nary/);
    expect(refused.fix).toContain("put the right password into --database-url");
    const right = urlAs(url, "firstlight", "n3w-c4nary");
    expect(short(await findingsOf({ url: right, slot: SLOT }))).toEqual([]);
    await admin.query(`alter role firstlight password '${PASSWORD}'`);
    await writeFile(path, trusting);
    await admin.query("select pg_reload_conf()");
  });
});

test("what polling costs is what pg_stat_statements knows of coderd's queries, where the role may see them", async () => {
  const settings = { shared_preload_libraries: "pg_stat_statements", fsync: "off" };
  await using server = await startServer({ settings });
  await using admin = await connect(server.url());
  await admin.query("create role reader login");
  const cost = async () => {
    await using session = await openSession(parseDatabaseUrl(urlAs(server.url(), "reader")), {
      signal: new AbortController().signal,
    });
    return await pollingOf(session);
  };
  expect(await cost()).toMatchObject({
    kind: "unknown",
    why: expect.stringMatching(/not installed/),
  });
  await admin.query("create extension pg_stat_statements");
  expect(await cost()).toMatchObject({
    kind: "unknown",
    why: expect.stringMatching(/may not see/),
  });
  await admin.query("grant pg_read_all_stats to reader");
  expect(await cost()).toMatchObject({
    kind: "unknown",
    why: expect.stringMatching(/has none of coderd's queries/),
  });
  for (let i = 0; i < 3; i += 1) {
    await admin.query("select pg_sleep(0.1) as claimed_count");
    await admin.query("select -- name: GetWorkspaceAgentsForMetrics :many\n 1 as one");
  }
  const told = await cost();
  expect(told).toMatchObject({ kind: "measured", calls: 6 });
  expect(told.kind === "measured" && told.seconds).toBeGreaterThan(0.25);
});
