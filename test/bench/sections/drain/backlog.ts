// A backlog that is drained many times: a parked slot stands before it, and each run gets a copy of that slot.

import { cp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Lsn } from "../../../../src/lsn.ts";
import type { Bed } from "../../support/bed.ts";
import { startFirstlight } from "../../support/firstlight.ts";
import { startLoad } from "../../support/load.ts";
import { orAborted } from "../../support/waiting.ts";

export const FIRSTLIGHT = "bench_firstlight";
const PARKED = "bench_parked";

/**
 * As if it had been written at 6,667 heartbeats a second: in 15 s of that the server logs its running transactions once, and
 * decoding can begin at no other place.
 */
const SNAPSHOT_EVERY = 100_000;

const MARK =
  "update workspace_agents set name = 'last' where id = (select id from workspace_agents where name = 'main' limit 1)";

export interface BacklogOptions {
  readonly bed: Bed;
  readonly folder: string;
  readonly heartbeats: number;
  /** Runs when everything stands where the backlog will begin. */
  readonly beforehand: () => Promise<void>;
  readonly signal: AbortSignal;
}

export interface Backlog {
  readonly heartbeats: number;
  /** Only one transaction, on a watched table, ends behind this, … */
  readonly target: Lsn;
  /** … and not behind this. */
  readonly end: Lsn;
  /** Bytes of WAL. */
  readonly bytes: number;
  /** A new slot of this name, at the beginning. */
  slot(name: string): Promise<void>;
  /** Puts Firstlight's ledger and slot back to the beginning; gives the ledger's path. */
  rewindFirstlight(): Promise<string>;
}

export async function writeBacklog(options: BacklogOptions): Promise<Backlog> {
  const { bed, folder, signal, heartbeats } = options;
  const [live, saved] = [join(folder, "live"), join(folder, "saved")];
  await mkdir(live);
  const statePath = join(live, "firstlight.db");
  {
    const url = await bed.addRole(FIRSTLIGHT);
    await using baseline = await startFirstlight({
      url,
      slot: FIRSTLIGHT,
      statePath,
      readEvery: null,
      signal,
    });
    await baseline.reaches(await bed.position(), 100);
  }
  await cp(live, saved, { recursive: true });
  await bed.copySlot(FIRSTLIGHT, PARKED);
  await options.beforehand();
  const begin = await bed.position();
  {
    await using load = await startLoad(bed, {
      rate: null,
      count: heartbeats,
      snapshotEvery: SNAPSHOT_EVERY,
    });
    await orAborted(load.ended, signal);
  }
  const target = await bed.position();
  await bed.admin.query(MARK);
  const end = await bed.position();
  return {
    heartbeats,
    target,
    end,
    bytes: Number(end - begin),
    slot: async (name) => bed.copySlot(PARKED, name),
    async rewindFirstlight() {
      await rm(live, { recursive: true });
      await cp(saved, live, { recursive: true });
      await bed.dropSlot(FIRSTLIGHT);
      await bed.copySlot(PARKED, FIRSTLIGHT);
      return statePath;
    },
  };
}
