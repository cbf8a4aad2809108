// What is between Firstlight and the server, or is no primary: poolers, load balancers, standbys; and servers that are not there.

import { type Socket, connect as dial, createServer } from "node:net";
import { must } from "../../src/errors.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setupText } from "../../src/commands/setup/text.ts";
import { createCoderSchema } from "../../src/demo/coder/schema.ts";
import { type Server, freePort, startServer } from "../../src/demo/server.ts";
import { balance } from "../standby/support/balancer.ts";
import { urlAs } from "../support/database.ts";
import { type Standby, connect, standbyOf } from "../support/standby.ts";
import { examined, findingsOf, only, runFix, short } from "./support/doctor.ts";
import { blocksOf } from "../support/blocks.ts";

const ROLE = "firstlight";
const throughPort = (url: string, port: number): string => {
  const other = new URL(url);
  other.port = String(port);
  return other.href;
};

describe("a primary and its standby", () => {
  let primary: Server;
  let standby: Standby;
  let url: string;
  beforeAll(async () => {
    const settings = { max_slot_wal_keep_size: "1GB", fsync: "off" };
    primary = await startServer({ settings });
    await using admin = await connect(primary.url());
    await createCoderSchema(admin);
    await admin.query(`create role ${ROLE} with login replication`);
    const text = setupText({ publication: "firstlight", role: ROLE, wholeTables: false });
    await runFix(must(blocksOf(text).get(2), "no block for the owner"), admin);
    standby = await standbyOf(primary, { settings: { max_slot_wal_keep_size: "1GB" } });
    await standby.waitFor(primary);
    url = urlAs(standby.url(), ROLE);
  });
  afterAll(async () => {
    await standby?.[Symbol.asyncDispose]();
    await primary[Symbol.asyncDispose]();
  });

  const found = () => findingsOf({ url });

  test("as it should be, the standby is without a finding", async () => {
    expect(short(await found())).toEqual([]);
    expect((await examined({ url })).about[0]).toMatch(/, a standby$/);
  });

  test("hot_standby_feedback off", async () => {
    await using admin = await connect(standby.url());
    await admin.query("alter system set hot_standby_feedback = off");
    await admin.query("select pg_reload_conf()");
    await expect.poll(async () => (await found()).map(({ check }) => check)).toEqual(["server"]);
    await runFix(only(await found(), "server", "hot_standby_feedback is off").fix, admin);
    await expect.poll(async () => short(await found())).toEqual([]);
  });

  test("no slot on the primary", async () => {
    await using admin = await connect(standby.url());
    await admin.query("alter system set primary_slot_name = ''");
    await admin.query("select pg_reload_conf()");
    await expect
      .poll(async () => (await found()).map(({ check }) => check))
      .toEqual(["primary_slot_name"]);
    const { fix } = only(await found(), "primary_slot_name", "has no slot on its primary");
    const [there = "", ...here] = fix.split("\n");
    expect(there).toMatch(/-- on the primary$/);
    await using other = await connect(primary.url());
    await runFix(there, other);
    await runFix(here.join("\n"), admin);
    await expect.poll(async () => short(await found())).toEqual([]);
  });

  test("a primary at wal_level replica, while the standby itself is at logical", async () => {
    await using before = await connect(primary.url());
    await before.query("alter system set wal_level = 'replica'");
    await primary.stop("fast");
    await primary.start();
    await standby.waitFor(primary);
    const { problem, fix } = only(await found(), "wal_level", "this server can not decode");
    expect(problem).toMatch(/wal_level/);
    expect(fix).toContain("-- on the primary, then restart it");
    await using admin = await connect(primary.url());
    await runFix(fix, admin);
    await primary.stop("fast");
    await primary.start();
    await standby.waitFor(primary);
    expect(short(await found())).toEqual([]);
  });

  test("one address for both: a load balancer", async () => {
    await using balancer = await balance([primary, standby]);
    const spread = throughPort(url, balancer.port);
    const finding = only(await findingsOf({ url: spread }), "load_balancer", "two servers");
    expect(finding.fix).toContain("point --database-url at one server");
    expect(short(await findingsOf({ url: urlAs(primary.url(), ROLE) }))).toEqual([]);
  });

  test("a connection pooler: other processes than they say, and no replication", async () => {
    await using pooler = await pool(primary);
    const findings = await findingsOf({
      url: throughPort(urlAs(primary.url(), ROLE), pooler.port),
    });
    expect(findings.map(({ check }) => check)).toEqual(["pooler", "replication"]);
    for (const { fix } of findings) expect(fix).toContain("name Postgres itself in --database-url");
    expect(short(await findingsOf({ url: urlAs(primary.url(), ROLE) }))).toEqual([]);
  });
});

/** As PgBouncer: a process number of its own for each client, and no word for `replication`. */
async function pool(server: Server): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const listener = createServer((client) => {
    const upstream = dial(server.port, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => void [client.destroy(), upstream.destroy()]);
    }
    client.once("data", (startup) => {
      if (startup.includes("replication\0database")) {
        client.end(errorResponse("08P01", "unsupported startup parameter: replication"));
        return;
      }
      upstream.write(startup);
      client.pipe(upstream);
    });
    let begun = false;
    upstream.on("data", (bytes) => {
      if (!begun && typeof bytes !== "string") begun = disguised(bytes);
      client.write(bytes);
    });
  });
  const port = await freePort();
  await new Promise<void>((resolve) => {
    listener.listen(port, "127.0.0.1", resolve);
  });
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

/** Gives BackendKeyData, if it is among these messages, another process number. */
function disguised(bytes: Buffer): boolean {
  for (let at = 0; at + 5 <= bytes.length; at += 1 + bytes.readInt32BE(at + 1)) {
    if (bytes[at] !== 0x4b) continue;
    bytes.writeInt32BE(1_234_567_890, at + 5);
    return true;
  }
  return false;
}

function errorResponse(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.alloc(5);
  head.write("E");
  head.writeInt32BE(4 + fields.length, 1);
  return Buffer.concat([head, fields]);
}
