// A fast stop of the server ends within 2 s with us attached, whatever we are waiting for; and when it is back everything goes
// on by itself and is exact. A stopping server waits until every walsender's client has confirmed all that there is.

import { join } from "node:path";
import { expect, test } from "vitest";
import type pg from "pg";
import { ownServer } from "../../crash/support/own-server.ts";
import { report } from "../../crash/support/report.ts";
import { holdWriteLock } from "../../crash/support/write-lock.ts";
import { type InProcess, publish, until } from "../../support/firstlight.ts";
import { HandMade, JOBS } from "../../support/hand-made.ts";
import { valueOf } from "../../support/scrape.ts";
import { mountable, smallDisk } from "../../support/small-disk.ts";
import { manyBuilds } from "../support/bulk.ts";
import {
  type FollowOptions,
  type Network,
  RECOVERS_WITHIN_MS,
  openNetwork,
} from "../support/network.ts";

const STOPS_WITHIN_MS = 2_000;

interface Stage {
  readonly network: Network;
  /** A superuser's, lost when the server stops; so is the other. */
  readonly client: pg.Client;
  readonly other: pg.Client;
  readonly follow: (options?: FollowOptions) => Promise<InProcess>;
}

interface Arranged {
  readonly firstlight: InProcess;
  /** Mends what was broken while the server is down, or when it is up again. */
  readonly mend?: (client: pg.Client) => unknown;
  readonly mendWhileDown?: () => unknown;
  /** Who goes on, if it is somebody else. */
  readonly next?: () => Promise<InProcess>;
  /** Whether only the simulation has written. Default true. */
  readonly tally?: boolean;
}

/** Brings about what is waited for, stops the server, mends it, starts the server, and compares. */
async function stopsWhile(
  what: string,
  arrange: (stage: Stage) => Promise<Arranged>,
): Promise<void> {
  await using server = await ownServer();
  await using network = await openNetwork({ place: server });
  await using followers = new AsyncDisposableStack();
  await network.simulation.run({ workflows: 20 });
  const { firstlight, mend, mendWhileDown, next, tally } = await arrange({
    network,
    client: network.client,
    other: await server.client(),
    follow: async (options) =>
      followers.use(await network.follow({ timing: { backOffUpToMs: 500 }, ...options })),
  });
  const began = performance.now();
  await server.stop("fast");
  const milliseconds = Math.round(performance.now() - began);
  report(`fast stop of the server ${what}`, { milliseconds });
  await mendWhileDown?.();
  await server.start();
  await mend?.(await server.client());
  const last = next ? await next() : firstlight;
  await network.simulation.run({ workflows: 5 });
  await network.finish(last, tally === undefined ? {} : { tally });
  expect(milliseconds).toBeLessThan(STOPS_WITHIN_MS);
}

async function connected(firstlight: InProcess): Promise<boolean> {
  return valueOf(await firstlight.scrape(), "firstlight_stream_connected") === 1;
}

test("a fast stop while we follow, right after the last commit", async () => {
  await stopsWhile("under load", async ({ network, follow }) => {
    const firstlight = await follow();
    await firstlight.caughtUp();
    await network.simulation.run({ workflows: 20 });
    return { firstlight };
  });
});

test("a fast stop while the store is locked", async () => {
  await stopsWhile("with a locked store", async ({ network, follow }) => {
    const firstlight = await follow();
    await firstlight.caughtUp();
    const held = holdWriteLock(firstlight.statePath);
    await network.simulation.run({ workflows: 10 });
    await until("the store refuses", () => logged(firstlight, '"reason":"store"'));
    // Not in the pause between two attempts: with the news in hand.
    await until("it has tried again", async () => connected(firstlight));
    return { firstlight, mendWhileDown: () => held[Symbol.dispose]() };
  });
});

test.skipIf(!mountable)("a fast stop while the store's disk is full", async () => {
  using disk = smallDisk();
  if (!disk) throw new Error("it could be mounted a moment ago");
  await stopsWhile("with a full disk", async ({ network, follow }) => {
    const firstlight = await follow({ statePath: join(disk.folder, "firstlight.db") });
    await firstlight.caughtUp();
    await disk.fill(0);
    await network.simulation.run({ workflows: 30 });
    await until(
      "the store refuses",
      () => logged(firstlight, '"reason":"store"'),
      RECOVERS_WITHIN_MS,
    );
    return { firstlight, mendWhileDown: async () => disk.clear() };
  });
});
if (!mountable)
  process.stderr.write("SKIPPED: a fast stop with a full disk (only root can mount a small one)\n");

const TABLE_MISSING = {
  name: "a table is missing in the publication",
  breaks: "alter publication firstlight drop table workspace_builds",
  mends: async (client: pg.Client): Promise<unknown> => {
    await client.query("drop publication firstlight");
    return publish(client);
  },
};
const PUBLICATION_GONE = {
  name: "the publication is gone",
  breaks: "drop publication firstlight",
  mends: async (client: pg.Client): Promise<unknown> => publish(client),
};

for (const { name, breaks, mends } of [TABLE_MISSING, PUBLICATION_GONE]) {
  test(`a fast stop while ${name}, and nobody has noticed`, async () => {
    await stopsWhile(`while ${name}, not noticed`, async ({ network, client, follow }) => {
      const firstlight = await follow();
      await firstlight.caughtUp();
      await client.query(breaks);
      await network.simulation.run({ workflows: 10 });
      return { firstlight, mend: mends };
    });
  });
}

test("a fast stop while the publication is gone, once that is known", async () => {
  await stopsWhile("while the publication is gone, known", async ({ network, client, follow }) => {
    const firstlight = await follow();
    await firstlight.caughtUp();
    await client.query(PUBLICATION_GONE.breaks);
    await network.simulation.run({ workflows: 10 });
    await until("it is noticed", async () => !(await connected(firstlight)));
    return { firstlight, mend: PUBLICATION_GONE.mends };
  });
});

test("a fast stop while commits can not be seen by queries", async () => {
  await stopsWhile("while synchronous replication is stuck", async (stage) => {
    const firstlight = await stage.follow();
    await firstlight.caughtUp();
    await holdUpCommit(stage, firstlight);
    return { firstlight, mend: release, tally: false };
  });
});

test("a fast stop that only the stream hears of, with news that can not be confirmed", async () => {
  await stopsWhile("while the session is in a black hole", async (stage) => {
    const firstlight = await stage.follow();
    await firstlight.caughtUp();
    await holdUpCommit(stage, firstlight);
    for (const link of stage.network.proxy.links)
      if (!link.replication) link.set({ toClient: { kind: "blackhole" } });
    return { firstlight, mend: release, tally: false };
  });
});

test("a fast stop while the socket is paused, with more news than may wait", async () => {
  await stopsWhile("while the socket is paused", async (stage) => {
    const { client } = stage;
    const firstlight = await stage.follow();
    await firstlight.caughtUp();
    await holdUpCommit(stage, firstlight);
    // Committed without waiting for a standby, it waits behind what does.
    await client.query("set synchronous_commit = local");
    const made = await HandMade.again(client);
    await manyBuilds(client, made, 11_000);
    await client.query(
      "update provisioner_jobs set error = repeat(md5(id::text), 100) where completed_at is null",
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

test("a fast stop while we are halted at a gap", async () => {
  await stopsWhile("while halted", async ({ network, client, follow }) => {
    const { target, simulation } = network;
    {
      await using firstlight = await follow();
      await firstlight.caughtUp();
    }
    await simulation.run({ workflows: 5 });
    await client.query("select pg_replication_slot_advance($1, pg_current_wal_lsn())", [
      target.slot,
    ]);
    const firstlight = await follow({ env: { FIRSTLIGHT_ON_GAP: "halt" } });
    await until("it is halted", () => logged(firstlight, '"reason":"halted"'));
    return {
      firstlight,
      next: async () => {
        await firstlight[Symbol.asyncDispose]();
        return follow();
      },
    };
  });
});

test("a fast stop while we catch up with a long backlog", async () => {
  await stopsWhile("while catching up", async ({ network, follow }) => {
    {
      await using firstlight = await follow();
      await firstlight.caughtUp();
    }
    await network.simulation.heartbeats({ count: 100_000 });
    const firstlight = await follow();
    await until("it streams", async () => connected(firstlight));
    return { firstlight };
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

function logged(firstlight: InProcess, text: string): boolean {
  return firstlight.log.some((line) => line.includes(text));
}

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
