// Writes heartbeats and knows how many: at a moment, and up to a position of the WAL.

import { readFile } from "node:fs/promises";
import { type Lsn, parseLsn } from "../../../src/lsn.ts";
import { until } from "../../support/firstlight.ts";
import type { Bed } from "./bed.ts";

const SQL = new URL("load.sql", import.meta.url);
/** More than any run takes. */
const FOR_EVER = 2e9;
const TELLS_PER_SECOND = 20;
/** An agent says that it lives every 15 s. */
const AGENTS_PER_RATE = 15;

export interface LoadOptions {
  /** Heartbeats a second; null: as fast as the server takes them. */
  readonly rate: number | null;
  /** Default: until disposed. */
  readonly count?: number;
  /**
   * Has the server log its running transactions each so many heartbeats. It does so every 15 s by itself, and decoding can
   * only begin there; a backlog that is written faster than by its pace would have too few of these places.
   */
  readonly snapshotEvery?: number;
}

/** Disposing stops it. */
export interface Load extends AsyncDisposable {
  /** Heartbeats committed by now. */
  done(): number;
  /** Heartbeats committed up to a position. */
  upTo(lsn: Lsn): number;
  /** Resolves when all are written, or it was stopped; rejects when writing failed. */
  readonly ended: Promise<void>;
}

interface Point {
  readonly at: number;
  readonly count: number;
  readonly lsn: Lsn;
}

export async function startLoad(bed: Bed, options: LoadOptions): Promise<Load> {
  const { rate, count = FOR_EVER } = options;
  const client = await bed.connect();
  const points: Point[] = [];
  client.on("notice", ({ message = "" }) => {
    const [told, lsn] = message.split(" ");
    if (lsn !== undefined)
      points.push({ at: performance.now(), count: Number(told), lsn: parseLsn(lsn) });
  });
  const settings = {
    rate: rate ?? 0,
    count,
    agents: Math.ceil(rate === null ? 20_000 : rate * AGENTS_PER_RATE),
    tell_every: Math.max(1, Math.round((rate ?? 20_000) / TELLS_PER_SECOND)),
    snapshot_every: options.snapshotEvery ?? 0,
  };
  for (const [name, value] of Object.entries(settings)) {
    await client.query(`set bench.${name} = ${value}`);
  }
  const backend = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  let stopping = false;
  const ended = client.query(await readFile(SQL, "utf8")).then(
    () => undefined,
    (error: unknown) => {
      if (!stopping) throw error;
    },
  );
  ended.catch(() => undefined); // also told by whoever waits for it
  await until("the load has begun", () => points.length > 0);
  return {
    done: () => countAt(points, { key: ({ at }) => at, value: performance.now() }),
    upTo: (lsn) => countAt(points, { key: (point) => Number(point.lsn), value: Number(lsn) }),
    ended,
    async [Symbol.asyncDispose]() {
      stopping = true;
      await bed.admin.query("select pg_cancel_backend($1)", [backend.rows[0]?.pid]);
      await ended.catch(() => undefined);
      await client.end();
    },
  };
}

interface Place {
  readonly key: (point: Point) => number;
  readonly value: number;
}

/** How many: between two points in proportion, after the last one as between the last two. */
function countAt(points: readonly Point[], { key, value }: Place): number {
  const after = points.findIndex((point) => key(point) >= value);
  const right = after === -1 ? points.length - 1 : Math.max(after, 1);
  const [a, b] = [points[right - 1], points[right]];
  if (a === undefined || b === undefined) return b?.count ?? 0;
  const span = key(b) - key(a);
  return span === 0 ? b.count : a.count + ((b.count - a.count) * (value - key(a))) / span;
}
