// One rate: a load that goes on, and readers that take turns at it.

import { setTimeout as sleep } from "node:timers/promises";
import type { Lsn } from "../../../../src/lsn.ts";
import type { Bed } from "../../support/bed.ts";
import { type Load, startLoad } from "../../support/load.ts";
import type { BenchOptions } from "../../support/section.ts";
import { PROMISES, type Results } from "./results.ts";
import type { Reader, Subject, Subjects } from "./subjects.ts";
import { commitToVisible } from "./visible.ts";
import { measure } from "./window.ts";

export interface Windows {
  /** In milliseconds, for who streams, … */
  readonly streamMs: number;
  /**
   * … and for who reads in bursts. Each burst decodes again from the server's last record of its running transactions, which
   * comes every 15 s: its cost rises until then, so a window is to cover all of that.
   */
  readonly burstsMs: number;
  /** How long probes are written, and in how many of Firstlight's runs. */
  readonly probeMs: number;
  readonly probedRuns: number;
}

export interface RateOptions {
  readonly bench: BenchOptions;
  readonly bed: Bed;
  readonly rate: number;
  readonly windows: Windows;
  readonly subjects: Subjects;
  readonly results: Results;
}

/** Where a ratio is promised, as many pairs as asked for, each in turn beginning with the other one; elsewhere one run each. */
export async function runRate(options: RateOptions): Promise<void> {
  const { bed, rate, subjects, bench, windows } = options;
  const { ours, stock, bursts, streams } = subjects;
  await using load = await startLoad(bed, { rate });
  const promised = PROMISES.has(rate);
  const beside = promised ? bursts : [ours, ...bursts];
  if (beside.length > 0) await runTogether(options, { load, subjects: beside, probes: true });
  for (const subject of streams)
    await runTogether(options, { load, subjects: [subject], probes: true });
  const rounds = promised ? bench.pairs : 0;
  if (!promised) await runTogether(options, { load, subjects: [stock], probes: false });
  for (let round = 0; round < rounds; round += 1) {
    const probes = round < windows.probedRuns;
    for (const subject of round % 2 === 0 ? [ours, stock] : [stock, ours])
      await runTogether(options, { load, subjects: [subject], probes });
  }
}

const WARM_UP_MS = 500;
const ASK_EVERY_MS = 50;

async function catchUp(
  { handled }: Reader,
  { position, signal }: { readonly position: Lsn; readonly signal: AbortSignal },
): Promise<void> {
  if (handled === undefined) return;
  while ((await handled()) < position) await sleep(ASK_EVERY_MS, undefined, { signal });
}

interface Turn {
  readonly load: Load;
  readonly subjects: readonly Subject[];
  readonly probes: boolean;
}

/** What is promised is measured alone; readers that rest most of the time may share a window. */
async function runTogether(
  { bed, rate, windows, results, bench }: RateOptions,
  { load, subjects, probes }: Turn,
): Promise<void> {
  const { log, signal } = bench;
  signal.throwIfAborted();
  await using stack = new AsyncDisposableStack();
  const running: { readonly subject: Subject; readonly reader: Reader }[] = [];
  for (const subject of subjects)
    running.push({ subject, reader: stack.use(await subject.start()) });
  const position = await bed.position();
  for (const { reader } of running) await catchUp(reader, { position, signal });
  await sleep(WARM_UP_MS, undefined, { signal });
  await Promise.all(
    running.map(async ({ subject, reader }) => {
      const ms = subject.everyMs > 0 ? windows.burstsMs : windows.streamMs;
      const figures = await measure({ bed, load, subject, reader, ms, signal });
      results.add({ rate, subject, figures });
      const [server, client] = [figures.serverUs.toFixed(1), figures.clientUs.toFixed(1)];
      log(`steady ${rate}/s ${subject.name}: database ${server} µs, client ${client} µs`);
    }),
  );
  if (!probes) return;
  await Promise.all(
    running.map(async ({ subject, reader: { firstlight } }) => {
      if (firstlight === undefined) return;
      const ms = Math.max(windows.probeMs, subject.everyMs);
      const delays = await commitToVisible({ bed, firstlight, ms, signal });
      results.addDelays({ rate, subject, delays });
    }),
  );
}
