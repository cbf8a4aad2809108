// A network that says nothing, or says it late: bytes that vanish without a FIN, a server that never asks whether we live,
// delays, and one byte at a time. The limits that are a minute in production are some seconds here.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { report } from "../../crash/support/report.ts";
import { IN_BURSTS, until } from "../../support/firstlight.ts";
import { valueOf } from "../../support/scrape.ts";
import {
  type Network,
  type NetworkOptions,
  expectUndisturbed,
  openNetwork,
  startLoad,
} from "../support/network.ts";
import type { Modes } from "../support/proxy.ts";
import { withWalSenderTimeout } from "../support/wire.ts";

// Most of the time is waiting, which a busy machine makes longer.
vi.setConfig({ testTimeout: 180_000 });

const SILENCE_MS = 4_000;
/** The watchdog looks once a second, and the machine may be busy. */
const A_LITTLE_MS = 4_000;
/** Both sides give up after the same silence, and the server's began a little later: until then it holds the slot. */
const RECOVERS_WITHIN_MS = 3 * SILENCE_MS + 10_000;
const timing = { silenceMs: SILENCE_MS, backOffUpToMs: 200 };
/** The server gives up as soon as we do. */
const quick: NetworkOptions = {
  onMessage: (message) => withWalSenderTimeout(message, `${SILENCE_MS / 1000}s`),
};

interface Hole {
  readonly name: string;
  /** Of the connection on which the slot is read, or of the session beside it. */
  readonly reads: boolean;
  readonly modes: Modes;
  readonly expects: string;
  readonly withinMs: number;
  readonly recoversWithinMs?: number;
}

/** A query of SQL that is not running any more was lost with its connection. */
const SILENT = IN_BURSTS ? "connection_lost" : "silence";

const HOLES: readonly Hole[] = [
  {
    name: "what reads the slot, both ways",
    reads: true,
    modes: { toServer: { kind: "blackhole" }, toClient: { kind: "blackhole" } },
    expects: SILENT,
    withinMs: SILENCE_MS + A_LITTLE_MS,
  },
  {
    name: "what reads the slot, what the server says",
    reads: true,
    modes: { toClient: { kind: "blackhole" } },
    expects: SILENT,
    withinMs: SILENCE_MS + A_LITTLE_MS,
  },
  {
    name: "what reads the slot, what we say",
    reads: true,
    modes: { toServer: { kind: "blackhole" } },
    expects: SILENT,
    // A server that streams goes on until its own limit; only then is there silence.
    withinMs: 2 * SILENCE_MS + A_LITTLE_MS,
  },
  {
    name: "the session beside it",
    reads: false,
    modes: { toServer: { kind: "blackhole" }, toClient: { kind: "blackhole" } },
    expects: "no_answer",
    withinMs: SILENCE_MS + A_LITTLE_MS,
    // The lock that stands for the slot is held until the server finds that session idle for 30 s.
    recoversWithinMs: RECOVERS_WITHIN_MS + 30_000,
  },
];

for (const hole of HOLES) {
  const { name, reads, modes, expects, withinMs, recoversWithinMs = RECOVERS_WITHIN_MS } = hole;
  test.concurrent(`a black hole without FIN for ${name}: noticed in time, exact after`, async () => {
    await using network = await openNetwork(quick);
    const { proxy, simulation } = network;
    await using firstlight = await network.follow({ timing });
    await firstlight.caughtUp();
    await using load = startLoad(simulation);
    await until(
      "it counts",
      async () =>
        valueOf(await firstlight.scrape(), 'firstlight_facts_total{fact="attempted"}') > 5,
    );
    const began = performance.now();
    for (const link of proxy.links) if (link.reads === reads) link.set(modes);
    const says = (): boolean =>
      firstlight.log.some((line) => line.includes(`"reason":"${expects}"`));
    await until("it notices", says, RECOVERS_WITHIN_MS);
    const noticed = performance.now() - began;
    await until(
      "it follows again",
      () => firstlight.log.filter((line) => line.includes('"following"')).length > 1,
      recoversWithinMs,
    );
    report(`black hole for ${name}`, {
      "noticed after ms": Math.round(noticed),
      "following after ms": Math.round(performance.now() - began),
    });
    await load.stop();
    await simulation.run({ workflows: 0 });
    expectUndisturbed(await network.finish(firstlight));
    expect(noticed).toBeLessThan(withinMs);
  });
}

test.concurrent("a server without wal_sender_timeout never asks; idle, nobody reconnects", async () => {
  await using network = await openNetwork({
    onMessage: (message) => withWalSenderTimeout(message, "0"),
  });
  const page = await idleFor(network, 4 * SILENCE_MS);
  expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
});

test.concurrent("a server that a DBA gave no wal_sender_timeout, or one of a second: idle, nobody reconnects", async () => {
  for (const setting of ["0", "1s"]) {
    await using network = await openNetwork();
    const { client } = network;
    const { rows } = await client.query<{ name: string }>("select current_database() as name");
    await client.query(`alter database ${rows[0]?.name} set wal_sender_timeout = '${setting}'`);
    const page = await idleFor(network, 2 * SILENCE_MS);
    expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
  }
});

for (const { name, mode, workflows } of [
  { name: "a tenth of a second late", mode: { kind: "delay", ms: 100 }, workflows: 60 },
  { name: "in packets of one byte", mode: { kind: "trickle" }, workflows: 20 },
] as const) {
  test.concurrent(`everything ${name}: exact, no gap, no reconnect`, async () => {
    await using network = await openNetwork();
    const { proxy, simulation } = network;
    await simulation.run({ workflows: 5 });
    proxy.setAll({ toServer: mode, toClient: mode });
    await using firstlight = await network.follow({ timing });
    await simulation.run({ workflows });
    const page = await network.finish(firstlight);
    expectUndisturbed(page);
    expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
  });
}

/** Follows, lets nothing happen for so long, and compares; nothing may be held up by the idle time either. */
async function idleFor(network: Network, ms: number): ReturnType<Network["finish"]> {
  await network.simulation.run({ workflows: 5 });
  await using firstlight = await network.follow({ timing });
  await firstlight.caughtUp();
  await sleep(ms); // nothing can be waited for: that nothing happens is the point
  await network.simulation.run({ workflows: 5 });
  const page = await network.finish(firstlight);
  expectUndisturbed(page);
  return page;
}
