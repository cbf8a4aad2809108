// A fast stop of the server while we wait for something that only the server, or its other clients, can bring about.

import { test, vi } from "vitest";
import type pg from "pg";
import { type InProcess, STREAMING, until } from "../../support/firstlight.ts";
import { HandMade, JOBS } from "../../support/hand-made.ts";
import { valueOf } from "../../support/scrape.ts";
import { manyBuilds } from "../support/bulk.ts";
import { type Stage, stopsWhile } from "../support/server-stop.ts";

// Most of the time is waiting, which a busy machine makes longer.
vi.setConfig({ testTimeout: 180_000 });

test("a fast stop while commits can not be seen by queries", async () => {
  await stopsWhile("while synchronous replication is stuck", async (stage) => {
    const firstlight = await stage.follow();
    await firstlight.caughtUp();
    await holdUpCommit(stage, firstlight);
    return { firstlight, mend: release, tally: false };
  });
});

// Of a stream, for which a stopping server waits; sessions of SQL, which bursts are, it just ends.
test("a fast stop that only the stream hears of, with news that can not be confirmed", async () => {
  await stopsWhile("while the session is in a black hole", async (stage) => {
    const firstlight = await stage.follow({ env: STREAMING });
    await firstlight.caughtUp();
    await holdUpCommit(stage, firstlight);
    for (const link of stage.network.proxy.links)
      if (!link.replication) link.set({ toClient: { kind: "blackhole" } });
    return { firstlight, mend: release, tally: false };
  });
});

// Also of a stream: what a burst reads is bounded by its query.
test("a fast stop while the socket is paused, with more news than may wait", async () => {
  await stopsWhile("while the socket is paused", async (stage) => {
    const { client } = stage;
    const firstlight = await stage.follow({ env: STREAMING });
    await firstlight.caughtUp();
    await holdUpCommit(stage, firstlight);
    // Committed without waiting for a standby, it waits behind what does.
    await client.query("set synchronous_commit = local");
    const made = await HandMade.again(client);
    await manyBuilds(client, made, 11_000);
    await client.query(
      `update provisioner_jobs set error = repeat(md5(id::text), 100),
         started_at = now(), worker_id = gen_random_uuid(), completed_at = now() where completed_at is null`,
    );
    await until("the server can send no more", async () => {
      const { rows } = await client.query(
        `select from pg_stat_activity where backend_type = 'walsender' and wait_event = 'WalSenderWriteData'`,
      );
      return rows.length > 0;
    });
    return { firstlight, mend: release, tally: false };
  });
});

test("a fast stop while a baseline waits for an open transaction", async () => {
  await stopsWhile("while a baseline waits", async ({ client, other, follow }) => {
    await other.query("begin; select pg_current_xact_id()");
    const firstlight = await follow();
    await until("the baseline waits", async () => {
      const { rows } = await client.query(
        "select from pg_stat_activity where query like 'CREATE_REPLICATION_SLOT%' and wait_event = 'transactionid'",
      );
      return rows.length > 0;
    });
    return { firstlight };
  });
});

test("a fast stop while a baseline reads the tables", async () => {
  await stopsWhile("while a baseline reads", async ({ client, follow }) => {
    const made = await HandMade.again(client);
    await manyBuilds(client, made, 10_000);
    const firstlight = await follow();
    await until("the tables are read", async () => {
      const { rows } = await client.query(
        "select from pg_stat_activity where application_name = 'firstlight' and query ilike 'copy %' and state = 'active'",
      );
      return rows.length > 0;
    });
    return { firstlight, tally: false };
  });
});

/** From here on commits wait for a standby that does not exist, and one does that we have received. */
async function holdUpCommit({ client, other }: Stage, firstlight: InProcess): Promise<void> {
  await client.query("alter system set synchronous_standby_names = 'nobody'");
  await client.query("select pg_reload_conf()");
  await until("the writer knows", async () => {
    const { rows } = await other.query<{ names: string }>(
      "select current_setting('synchronous_standby_names') as names",
    );
    return rows[0]?.names === "nobody";
  });
  const made = await HandMade.again(other);
  await other.query("begin; set local synchronous_commit = on");
  await made.build({ job: JOBS.succeeded });
  other.query("commit").catch(() => undefined); // the server is going to stop
  await until("it waits for the commit to be visible", async () => {
    const page = await firstlight.scrape();
    return valueOf(page, 'firstlight_lookups_total{result="held"}') > 3;
  });
}

async function release(client: pg.Client): Promise<void> {
  await client.query("set synchronous_commit = local");
  await client.query("alter system reset synchronous_standby_names");
  await client.query("select pg_reload_conf()");
}
