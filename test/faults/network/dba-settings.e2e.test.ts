// A DBA's settings of the role or the database apply to every new session. Ours state what they need themselves: timeouts
// must not cut the stream, the wait for a snapshot or a long read, and formats must not change a number.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import pg from "pg";
import { ownServer } from "../../crash/support/own-server.ts";
import { urlAs } from "../../support/database.ts";
import { until } from "../../support/firstlight.ts";
import { valueOf } from "../../support/scrape.ts";
import { openGate } from "../support/gate.ts";
import { expectUndisturbed, openNetwork } from "../support/network.ts";
import { queryText } from "../support/wire.ts";

// Most of the time is waiting, which a busy machine makes longer.
vi.setConfig({ testTimeout: 180_000 });

/** Each much shorter than what the baseline waits for below. */
const IMPATIENT = "300ms";
const WAITS_MS = 2_000;
const SETTINGS: Readonly<Record<string, string>> = {
  statement_timeout: IMPATIENT,
  lock_timeout: IMPATIENT,
  idle_session_timeout: IMPATIENT,
  idle_in_transaction_session_timeout: IMPATIENT,
  transaction_timeout: IMPATIENT,
  wal_sender_timeout: "1s",
  logical_decoding_work_mem: "64kB",
  DateStyle: "German, DMY",
  TimeZone: "Asia/Kolkata",
  IntervalStyle: "iso_8601",
  extra_float_digits: "-15",
  bytea_output: "escape",
  search_path: "pg_temp",
  default_transaction_isolation: "serializable",
  default_transaction_read_only: "on",
};

for (const scope of ["role", "database"] as const) {
  test.concurrent(`settings of the ${scope}: undisturbed and exact, during the baseline, too`, async () => {
    // Its own: nobody else's open transaction may be what it waits for, and a warning fails.
    await using database = await ownServer();
    const [client, other] = [await database.client(), await database.client()];
    await using coder = await createRole(client, "coder");
    await using follower = await createRole(client, "follower");
    // Whoever else uses the database says what it needs: what holds now.
    for (const name of Object.keys(SETTINGS))
      await client.query(`alter role ${coder.name} set ${name} from current`);
    const gate = openGate();
    await using network = await openNetwork({
      place: database,
      onMessage: gate.onMessage,
      simulation: { url: urlAs(database.url, coder.name) },
    });
    const { simulation, proxy } = network;
    await simulation.run({ workflows: 50 });
    const target = scope === "role" ? `role ${follower.name}` : "database coder";
    for (const [name, value] of Object.entries(SETTINGS))
      await client.query(`alter ${target} set ${name} = '${value}'`);

    expect(await setting(urlAs(database.url, follower.name), "DateStyle")).toBe("German, DMY");

    const waits = async (event: string): Promise<void> =>
      until(`it waits for ${event}`, async () => {
        const { rows } = await client.query(
          "select from pg_stat_activity where usename = $1 and wait_event = $2",
          [follower.name, event],
        );
        return rows.length > 0;
      });
    const reading = gate.hold((message) => /^\s*copy /i.test(queryText(message) ?? ""));
    await other.query("begin; select pg_current_xact_id()");
    await using firstlight = await network.follow({
      url: proxy.url(urlAs(database.url, follower.name)),
    });
    await waits("transactionid");
    await sleep(WAITS_MS); // longer than each of the timeouts
    await other.query("rollback");
    await reading; // idle in its transaction, as is the session that keeps the snapshot
    await sleep(WAITS_MS);
    await other.query("begin; lock table workspace_agents, workspace_builds, provisioner_jobs");
    gate.release();
    await waits("relation");
    await sleep(WAITS_MS);
    await other.query("rollback");
    await firstlight.caughtUp();
    await sleep(WAITS_MS); // idle, with a session beside the stream
    await simulation.run({ workflows: 50 });
    await firstlight.caughtUp();
    // Who compares connects now, and is idle while the follower ends.
    await client.query(`alter ${target} reset all`);
    const page = await network.finish(firstlight);
    expectUndisturbed(page);
    expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
    expect(firstlight.log.filter(isOfSession)).toEqual([]);
  });
}

/** Warnings, but for those about the clock of an agent. */
function isOfSession(line: string): boolean {
  return line.includes('"level":"warn"') && !line.includes('"agent"');
}

/** What a new session gets. */
async function setting(url: string, name: string): Promise<string | undefined> {
  const client = new pg.Client(url);
  await client.connect();
  const { rows } = await client.query<{ value: string }>("select current_setting($1) as value", [
    name,
  ]);
  await client.end();
  return rows[0]?.value;
}

/** Dropped at the end. Superuser: what a role may read is tested elsewhere. */
async function createRole(
  client: pg.Client,
  name: string,
): Promise<AsyncDisposable & { readonly name: string }> {
  await client.query(`create role ${name} with login replication superuser`);
  return {
    name,
    async [Symbol.asyncDispose]() {
      await client.query(`drop role ${name}`);
    },
  };
}
