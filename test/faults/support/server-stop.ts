// A fast stop of the server with us attached, whatever we are waiting for: it ends within 2 s, and when the server is back
// everything goes on by itself and is exact. A stopping server waits until each walsender's client has confirmed all there is.

import { expect } from "vitest";
import type pg from "pg";
import { ownServer } from "../../crash/support/own-server.ts";
import { report } from "../../crash/support/report.ts";
import type { InProcess } from "../../support/firstlight.ts";
import { valueOf } from "../../support/scrape.ts";
import { type FollowOptions, type Network, openNetwork } from "./network.ts";

const STOPS_WITHIN_MS = 2_000;

export interface Stage {
  readonly network: Network;
  /** A superuser's, lost when the server stops; so is the other. */
  readonly client: pg.Client;
  readonly other: pg.Client;
  readonly follow: (options?: FollowOptions) => Promise<InProcess>;
}

export interface Arranged {
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
export async function stopsWhile(
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

export async function connected(firstlight: InProcess): Promise<boolean> {
  return valueOf(await firstlight.scrape(), "firstlight_stream_connected") === 1;
}

export function logged(firstlight: InProcess, text: string): boolean {
  return firstlight.log.some((line) => line.includes(text));
}
