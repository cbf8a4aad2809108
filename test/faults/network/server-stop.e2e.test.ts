// A fast stop of the server while something is broken, or there is simply much to do.

import { join } from "node:path";
import { test, vi } from "vitest";
import type pg from "pg";
import { holdWriteLock } from "../../crash/support/write-lock.ts";
import { publish, until } from "../../support/firstlight.ts";
import { mountable, smallDisk } from "../../support/small-disk.ts";
import { RECOVERS_WITHIN_MS } from "../support/network.ts";
import { connected, logged, stopsWhile } from "../support/server-stop.ts";

// Most of the time is waiting, which a busy machine makes longer.
vi.setConfig({ testTimeout: 180_000 });

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
