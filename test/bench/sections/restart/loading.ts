// Measured process: opens and loads a store once, as a start does. Argument: its path. Says how long it took as JSON.

import { open } from "./filling.ts";

export interface Loading {
  /** Milliseconds from the first line of this process' code that runs: `open`, then `load`. */
  readonly openMs: number;
  readonly loadMs: number;
  /** Of the load, in one call. */
  readonly loadCpuMs: number;
  /** Since the process began, runtime and modules included. */
  readonly sinceStartMs: number;
  readonly rss: number;
}

const began = performance.now();
using store = open(process.argv[2] ?? "");
const opened = performance.now();
const before = process.cpuUsage();
const { totals } = store.load();
const loaded = performance.now();
const { user, system } = process.cpuUsage(before);
if (totals.tables.length === 0) throw new Error("nothing was loaded");
const loading: Loading = {
  openMs: opened - began,
  loadMs: loaded - opened,
  loadCpuMs: (user + system) / 1_000,
  sinceStartMs: loaded,
  rss: process.memoryUsage.rss(),
};
process.stdout.write(JSON.stringify(loading));
