// The machine loses power: what was not synced is lost, in the middle of a page if it must be. Copies of a store under load,
// cut at random places behind what is safe, are each a whole number of commits: the position is never ahead of the effects.

import {
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Random } from "../../../src/demo/coder/random.ts";
import type { Fact } from "../../../src/derive/fact.ts";
import { must } from "../../../src/errors.ts";
import { type Folder, temporaryFolder } from "../../crash/support/folder.ts";
import { report } from "../../crash/support/report.ts";
import { confirmedFlush, createSlot } from "../../crash/support/slots.ts";
import { storedEnd } from "../../crash/support/stored.ts";
import { expectSumsEqualRecount } from "../../support/exact.ts";
import { startInProcess, uniqueSlot } from "../../support/firstlight.ts";
import { type Ledger, readLedger } from "../../support/ledger.ts";
import { JOBS } from "../../support/hand-made.ts";
import { valueOf } from "../../support/scrape.ts";
import { expectAccounted } from "../support/accounted.ts";
import { endAllJobs, manyBuilds } from "../support/bulk.ts";
import { type Scene, gaps, scene } from "../support/scene.ts";

const SEED = Number(process.env["FIRSTLIGHT_TEST_SEED"] ?? 1);
const COPIES = 24;

// https://sqlite.org/fileformat2.html#the_write_ahead_log, https://sqlite.org/walformat.html
const WAL_HEADER = 32;
const FRAME_HEADER = 24;
const BACKFILLED_AT = 96;

interface Copy {
  readonly path: string;
  /** Up to here the write-ahead file is in the database file already, so it was synced before. */
  readonly safe: number;
  readonly length: number;
  /** How often the write-ahead file was begun anew. */
  readonly checkpoints: number;
}

/** The files as they are between two commits: the follower runs in this process, and this does not wait. */
function copyFiles(from: string, to: string): Copy {
  copyFileSync(from, to);
  const wal = `${from}-wal`;
  const index = `${from}-shm`;
  if (existsSync(wal)) copyFileSync(wal, `${to}-wal`);
  const bytes = existsSync(wal) ? readFileSync(wal) : Buffer.alloc(0);
  const backfilled = existsSync(index) ? readFileSync(index).readUInt32LE(BACKFILLED_AT) : 0;
  const page = bytes.length >= WAL_HEADER ? bytes.readUInt32BE(8) : 0;
  const safe = WAL_HEADER + backfilled * (FRAME_HEADER + page);
  const checkpoints = page === 0 ? 0 : bytes.readUInt32BE(12);
  return { path: to, safe: Math.min(safe, bytes.length), length: bytes.length, checkpoints };
}

/** Loses what follows some byte behind the safe part, or leaves a torn block there. */
function cut({ path, safe, length }: Copy, random: Random): void {
  const at = random.between(safe, length);
  if (at >= length) return;
  truncateSync(`${path}-wal`, at);
  if (random.chance(0.5)) return;
  const torn = Buffer.from(Array.from({ length: 512 }, () => random.between(0, 255)));
  writeFileSync(`${path}-wal`, torn, { flag: "a" });
}

/** Commits of many shapes, enough of them for some checkpoints; few agents, because each is a series in every page. */
async function load({ client, made, inOne }: Scene, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    await manyBuilds(client, made, 1 + (round % 7) * 20);
    await endAllJobs(client);
    await made.build();
    const { job } = await inOne(() => made.build({ job: JOBS.succeeded }));
    await made.agent(job, { created: 30, connected: 30 + round });
  }
}

const keyOf = ({ kind, id }: Fact): string => `${kind} ${id}`;

/** The copy has every fact up to its position, none beyond it, and its totals are their fold. */
function expectWhole(copy: Ledger, end: bigint, last: Ledger): void {
  const upTo = last.facts.filter((fact) => fact.end <= end).map(keyOf);
  expect(copy.facts.map(keyOf).sort()).toEqual(upTo.sort());
  expect(Object.fromEntries(copy.refolded)).toEqual(Object.fromEntries(copy.stored));
}

async function copiesUnderLoad(on: Scene, folder: Folder): Promise<Copy[]> {
  const random = new Random(SEED);
  const copies: Copy[] = [];
  const loading = load(on, 45);
  const loaded = loading.then(() => true);
  while (copies.length < COPIES) {
    const copy = copyFiles(on.statePath, folder.path(`copy-${copies.length}.db`));
    cut(copy, random);
    copies.push(copy);
    if (await Promise.race([loaded, sleep(random.between(5, 80))])) break;
  }
  await loading;
  return copies;
}

test("copies of a store under load, cut where power could cut them, are whole, and following from them is exact", async () => {
  await using folder = await temporaryFolder();
  await scene({}, async (on) => {
    const { client } = on;
    await load(on, 2);
    await on.follow();
    const parked = uniqueSlot();
    await createSlot(client, parked);
    const parkedAt = await confirmedFlush(client, parked);
    const copies = await copiesUnderLoad(on, folder);
    await on.shown();
    await on.leave();

    const last = readLedger(on.statePath);
    const ends = copies.map(({ path }) => storedEnd(path));
    for (const [i, { path }] of copies.entries())
      expectWhole(readLedger(path), ends[i] ?? 0n, last);
    report("copies of a store under load", {
      copies: copies.length,
      "of different positions": new Set(ends).size,
      checkpoints: new Set(copies.map(({ checkpoints }) => checkpoints)).size,
      facts: last.facts.length,
    });
    expect(new Set(ends).size).toBeGreaterThan(5);

    // The slot as it would be, had it not been told of what was lost; and as it is, ahead.
    // One that lost all since the slot was parked would be behind it, too.
    const between = copies.filter((_, i) => (ends[i] ?? 0n) >= parkedAt);
    const middle = must(
      between[Math.floor(between.length / 2)],
      "no copy from after the slot",
    ).path;
    for (const rewound of [true, false]) {
      const statePath = folder.path(`again-${rewound}.db`);
      copyFileSync(middle, statePath);
      if (existsSync(`${middle}-wal`)) copyFileSync(`${middle}-wal`, `${statePath}-wal`);
      if (rewound) {
        await client.query("select pg_drop_replication_slot($1)", [on.slot]);
        await client.query("select pg_copy_logical_replication_slot($1, $2)", [parked, on.slot]);
      }
      {
        await using again = await startInProcess({ url: on.place.url, slot: on.slot, statePath });
        const page = await again.caughtUp(60_000);
        await expectSumsEqualRecount(client, page);
        expect(gaps(page)).toEqual(rewound ? {} : { slot_ahead: 1 });
        expect(valueOf(page, "firstlight_baselines_total")).toBe(rewound ? 0 : 1);
      }
      await expectAccounted(client, statePath);
    }
  });
}, 120_000);

test("a write-ahead file that is lost altogether leaves an older store, and that a gap: exact", async () => {
  await scene({}, async (on) => {
    await load(on, 1);
    await on.follow();
    await load(on, 10);
    await on.shown();
    const copy = copyFiles(on.statePath, `${on.statePath}.copy`);
    await on.leave();
    rmSync(`${copy.path}-wal`);
    copyFileSync(copy.path, on.statePath);
    const page = await on.follow();
    expect(gaps(page)).toEqual({ slot_ahead: 1 });
    await expectSumsEqualRecount(on.client, page);
    await on.leave();
    await expectAccounted(on.client, on.statePath);
  });
});
