// A million heartbeats are nothing: no fact, no byte in the store but the position, hardly any memory. As single-row
// transactions, which is what Coder writes, and as one transaction, which is what a migration would.

import { readFileSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { expectLedgerEqualsTables } from "../support/exact.ts";
import { IN_BURSTS, startProcess, uniqueSlot } from "../support/firstlight.ts";
import { readLedger } from "../support/ledger.ts";
import { byLabels, valueOf } from "../support/scrape.ts";
import { temporaryFolder } from "./support/folder.ts";
import { ownServer } from "./support/own-server.ts";
import { report } from "./support/report.ts";

const HEARTBEATS = 1_000_000;
const WARM_UP = 200_000;
/** Within one transaction each UPDATE's unique check walks past that row's earlier versions: many rows keep it short. */
const WORKSPACES = 600;
const MEBIBYTE = 1 << 20;
const MAY_GROW = 60 * MEBIBYTE;
const SAMPLE_EVERY_MS = 100;
/**
 * As by default: a position is stored with each burst, or every 64 MB (by a stream, each 10 s or 64 MB); one row, rewritten in place,
 * each time one page of SQLite's WAL file.
 */
const READ_EVERY = IN_BURSTS ? "5s" : "0";
const POSITION_BYTES = 4_120;
const MOST_POSITIONS = 50;
const FACTS = "firstlight_facts_total";
/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

for (const { name, perTransaction } of [
  { name: "as single-row transactions", perTransaction: 1 },
  { name: "as one transaction", perTransaction: HEARTBEATS },
]) {
  test(`a million heartbeats ${name}: no fact, no growth`, { timeout: 600_000 }, async () => {
    // Its own: whoever else makes a slot would wait for the one transaction.
    await using database = await ownServer();
    await using folder = await temporaryFolder();
    const client = await database.client();
    await using simulation = openSimulation({
      url: database.url,
      seed: 1,
      startAt: START_AT,
      heartbeats: 1,
    });
    await simulation.seedDeployment();
    await Promise.all(
      Array.from({ length: WORKSPACES }, async () => simulation.workflows.createRegular()),
    );
    const target = {
      url: database.url,
      slot: uniqueSlot(),
      statePath: folder.path("firstlight.db"),
      env: { FIRSTLIGHT_READ_EVERY: READ_EVERY },
    };
    {
      await using firstlight = await startProcess(target);
      // Some live facts and heartbeats first, so that what is measured is a process that has warmed up: its heap takes a few bursts
      // to find its size.
      await simulation.run({ workflows: 10 });
      await simulation.heartbeats({ count: WARM_UP });
      const before = await firstlight.caughtUp();
      const size = storeSize(target.statePath);
      const memory = watchMemory(firstlight.pid);
      const began = performance.now();

      await simulation.heartbeats({ count: HEARTBEATS, perTransaction });
      const written = performance.now();
      const after = await firstlight.caughtUp(300_000);
      const followed = performance.now();
      const { from, peak } = memory.stop();

      report(`a million heartbeats ${name}`, {
        "written in s": seconds(written - began),
        "followed in s": seconds(followed - began),
        "RSS before in MiB": mebibytes(from),
        "growth in MiB": mebibytes(peak - from),
        "store before in B": size,
        "store growth in B": storeSize(target.statePath) - size,
      });
      expect(updates(after.series) - updates(before.series)).toBe(HEARTBEATS);
      expect(byLabels(after, FACTS)).toEqual(byLabels(before, FACTS));
      expect(valueOf(after, "firstlight_reconnects_total")).toBe(0);
      expect(peak - from).toBeLessThan(MAY_GROW);
      expect(storeSize(target.statePath) - size).toBeLessThanOrEqual(
        MOST_POSITIONS * POSITION_BYTES,
      );
      expect(await firstlight.terminate()).toBe(0);
    }
    const { facts } = readLedger(target.statePath);
    expect(facts.length).toBeGreaterThan(0);
    await expectLedgerEqualsTables(client, target.statePath, simulation);
  });
}

/** Bytes of the store with everything that is not checkpointed yet. */
function storeSize(path: string): number {
  return ["", "-wal"]
    .map((suffix) => statSync(`${path}${suffix}`, { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0);
}

/** Samples the resident memory of a process, in bytes. */
function watchMemory(pid: number): { stop(): { readonly from: number; readonly peak: number } } {
  const from = residentBytes(pid);
  let peak = from;
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes(pid));
  }, SAMPLE_EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      return { from, peak: Math.max(peak, residentBytes(pid)) };
    },
  };
}

/** VmRSS of proc(5). */
function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return Number(kibibytes) * 1024;
}

function updates(series: ReadonlyMap<string, number>): number {
  return series.get('firstlight_changes_total{table="workspace_agents",op="update"}') ?? 0;
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(1);
}

function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1);
}
