// Somebody else moves our slot: whoever may replicate can. What was skipped is never sent again, so it is found in the tables;
// and nothing may be said to the server before it is known that what is read begins where the ledger ends.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import type pg from "pg";
import { must } from "../../../src/errors.ts";
import { type Lsn, formatLsn } from "../../../src/lsn.ts";
import { confirmedFlush, disconnect } from "../../crash/support/slots.ts";
import { STREAMING } from "../../support/firstlight.ts";
import { valueOf } from "../../support/scrape.ts";
import { openGate } from "../support/gate.ts";
import { expectUndisturbed, openNetwork } from "../support/network.ts";
import type { Link } from "../support/proxy.ts";
import { readsSlot, withWalSenderTimeout } from "../support/wire.ts";

// Most of the time is waiting, which a busy machine makes longer.
vi.setConfig({ testTimeout: 180_000 });

const timing = { backOffUpToMs: 200 };
/** The server asks for an answer after half of its `wal_sender_timeout`. */
const ASKS_AFTER_MS = 2_000;

type Meddler = (client: pg.Client, slot: string) => Promise<unknown>;

const advance: Meddler = async (client, slot) =>
  client.query("select pg_replication_slot_advance($1, pg_current_wal_lsn())", [slot]);

const MEDDLERS: Readonly<Record<string, { readonly meddle: Meddler; readonly gap: string }>> = {
  "advances it": { meddle: advance, gap: "slot_ahead" },
  "reads from it": {
    meddle: async (client, slot) =>
      client.query(
        `select count(*) from pg_logical_slot_get_binary_changes($1, null, null,
           'proto_version', '1', 'publication_names', 'firstlight')`,
        [slot],
      ),
    gap: "slot_ahead",
  },
  "drops it": {
    meddle: async (client, slot) => client.query("select pg_drop_replication_slot($1)", [slot]),
    gap: "slot_missing",
  },
  "puts another in its place": {
    meddle: async (client, slot) => {
      await client.query("select pg_drop_replication_slot($1)", [slot]);
      await client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
    },
    gap: "slot_ahead",
  },
};

for (const [does, { meddle, gap }] of Object.entries(MEDDLERS)) {
  test(`while we are gone somebody ${does}: seen, healed, exact`, async () => {
    await using network = await openNetwork();
    const { simulation, client, target } = network;
    await simulation.run({ workflows: 10 });
    {
      await using firstlight = await network.follow({ timing });
      await firstlight.caughtUp();
    }
    await simulation.run({ workflows: 10 });
    await meddle(client, target.slot);
    await simulation.run({ workflows: 5 });
    await using firstlight = await network.follow({ timing });
    const page = await network.finish(firstlight);
    expect(valueOf(page, `firstlight_gaps_total{reason="${gap}"}`)).toBe(1);
  });

  test(`between our check and the first reading somebody ${does}: seen, healed, exact`, async () => {
    const gate = openGate();
    await using network = await openNetwork({ onMessage: gate.onMessage });
    const { simulation, client, target } = network;
    await simulation.run({ workflows: 10 });
    await using firstlight = await network.follow({ timing });
    await firstlight.caughtUp();

    const before = network.proxy.links.length;
    const held = gate.hold((message, { index }) => index >= before && readsSlot(message));
    await disconnect(client);
    const link = await held;
    await simulation.run({ workflows: 10 });
    await meddle(client, target.slot);
    gate.release();
    await simulation.run({ workflows: 5 });
    const page = await network.finish(firstlight);
    expect(valueOf(page, `firstlight_gaps_total{reason="${gap}"}`)).toBe(1);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(2);
    // To a slot that is not where it was nothing was said.
    expect(link.acknowledged).toEqual([]);
  });
}

test("between the first baseline and the first reading somebody moves the slot: seen, healed, exact", async () => {
  const gate = openGate();
  await using network = await openNetwork({ onMessage: gate.onMessage });
  const { simulation, client, target } = network;
  await simulation.run({ workflows: 10 });
  const held = gate.hold(readsSlot);
  await using firstlight = await network.follow({ timing });
  await held;
  await simulation.run({ workflows: 10 });
  await advance(client, target.slot);
  gate.release();
  const page = await network.finish(firstlight);
  expect(valueOf(page, 'firstlight_gaps_total{reason="slot_ahead"}')).toBe(1);
});

// A burst is read after the checks, so there is no such time; it says nothing either, as the tests above see.
test("nothing is said to the server between START and the end of the checks", async () => {
  const gate = openGate();
  await using network = await openNetwork({
    onMessage: (message, link) =>
      gate.onMessage(withWalSenderTimeout(message, `${(2 * ASKS_AFTER_MS) / 1_000}s`), link),
  });
  const { simulation, client, proxy, target } = network;
  await simulation.run({ workflows: 10 });
  await using firstlight = await network.follow({ timing, env: STREAMING });
  await firstlight.caughtUp();

  const before = proxy.links.length;
  let stream: Link | undefined;
  const held = gate.hold((message, link) => {
    if (link.index < before) return false;
    if (readsSlot(message)) stream = link;
    return stream !== undefined && !link.replication;
  });
  await disconnect(client);
  await held;
  const confirmed = await confirmedFlush(client, target.slot);
  await simulation.run({ workflows: 10 });
  await sleep(ASKS_AFTER_MS * 1.3); // it has been asked whether it lives
  expect(stream?.bytes.toClient).toBeGreaterThan(5_000);
  expect(stream?.statuses).toEqual([]);
  gate.release();
  expectUndisturbed(await network.finish(firstlight));
  // And then, where the server has the slot.
  expect(formatLsn(firstFlush(stream))).toBe(formatLsn(confirmed));
});

function firstFlush(link: Link | undefined): Lsn {
  return must(link?.statuses[0], "nothing was said").flush;
}
