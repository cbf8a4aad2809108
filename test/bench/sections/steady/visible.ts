// How long after its commit a change is visible: probes at random moments, and `applied` of Firstlight's status asked often.
// Apart from the CPU windows, because asking costs.

import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Lsn } from "../../../../src/lsn.ts";
import type { Bed } from "../../support/bed.ts";
import type { Firstlight } from "../../support/firstlight.ts";

const ASK_EVERY_MS = 10;
const PROBE_EVERY_MS = 30;
const VISIBLE_WITHIN_MS = 30_000;

const PROBE =
  "update workspace_agents set updated_at = clock_timestamp() where id = (select id from workspace_agents limit 1)";

export interface VisibleOptions {
  readonly bed: Bed;
  readonly firstlight: Firstlight;
  readonly ms: number;
  readonly signal: AbortSignal;
}

/** Milliseconds from the commit of each probe until it was seen to be applied. */
export async function commitToVisible(options: VisibleOptions): Promise<number[]> {
  const { bed, firstlight, ms, signal } = options;
  const waiting: { readonly at: number; readonly lsn: Lsn }[] = [];
  const delays: number[] = [];
  const client = await bed.connect();
  const until = performance.now() + ms;
  const probing = probe(bed, { client, until, signal, told: (one) => waiting.push(one) });
  while (performance.now() < until || waiting.length > 0) {
    const applied = await firstlight.applied();
    const now = performance.now();
    while (waiting[0] !== undefined && waiting[0].lsn <= applied) {
      delays.push(now - waiting[0].at);
      waiting.shift();
    }
    if (now > until + VISIBLE_WITHIN_MS) throw new Error("a probe did not become visible");
    await sleep(ASK_EVERY_MS, undefined, { signal });
  }
  await probing;
  await client.end();
  return delays;
}

async function probe(
  bed: Bed,
  options: {
    readonly client: pg.Client;
    readonly until: number;
    readonly signal: AbortSignal;
    readonly told: (one: { at: number; lsn: Lsn }) => void;
  },
): Promise<void> {
  while (performance.now() < options.until) {
    await options.client.query(PROBE);
    const at = performance.now();
    // Behind the commit, so no sooner visible than it.
    options.told({ at, lsn: await bed.position() });
    await sleep(2 * PROBE_EVERY_MS * Math.random(), undefined, { signal: options.signal });
  }
}
