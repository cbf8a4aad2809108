// The event loop stands still for longer than the server's patience, after a commit that was neither shown nor acknowledged.

import { expect, test, vi } from "vitest";
import { STREAMING, startProcess, until } from "../../support/firstlight.ts";
import { valueOf } from "../../support/scrape.ts";
import { type Network, expectUndisturbed, openNetwork, startLoad } from "../support/network.ts";
import { withWalSenderTimeout } from "../support/wire.ts";

// Most of the time is waiting, which a busy machine makes longer.
vi.setConfig({ testTimeout: 180_000 });

const BLOCKED_MS = 12_000;
const SCRIPT = new URL("../support/serve-and-block.ts", import.meta.url).pathname;
const env = { BLOCK_AT: "10", BLOCK_MS: String(BLOCKED_MS) };

test.concurrent("blocked for longer than the DBA's wal_sender_timeout: our own limit holds, nobody reconnects", async () => {
  await using network = await openNetwork();
  const { client } = network;
  const { rows } = await client.query<{ name: string }>("select current_database() as name");
  await client.query(`alter database ${rows[0]?.name} set wal_sender_timeout = '5s'`);
  const reconnects = await blocked(network);
  expect(reconnects).toBe(0);
});

// In bursts there is nobody who gives up: a session that is idle is not asked whether it lives.
test.concurrent("blocked until the server gives up the stream: it reconnects, and nothing is lost or counted twice", async () => {
  await using network = await openNetwork({
    onMessage: (message) => withWalSenderTimeout(message, "5s"),
  });
  const reconnects = await blocked(network, STREAMING);
  expect(reconnects).toBe(1);
});

/** Follows under load, stands still once, goes on, and compares. Returns how often it had to connect again. */
async function blocked(
  network: Network,
  reading: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { simulation, target } = network;
  await using firstlight = network.watch(
    await startProcess({ ...target, script: SCRIPT, env: { ...env, ...reading } }),
  );
  await firstlight.caughtUp();
  await using load = startLoad(simulation);
  const says = (what: string) => (): boolean =>
    firstlight.log.some((line) => line.includes(`"message":"${what}"`));
  await until("it is blocked", says("blocked"));
  await until("it goes on", says("unblocked"), BLOCKED_MS + 10_000);
  await load.stop();
  await simulation.run({ workflows: 10 });
  const page = await network.finish(firstlight);
  expectUndisturbed(page);
  return valueOf(page, "firstlight_reconnects_total");
}
