// Reads a ledger in a process of its own and says what it took: arguments are the URL, and the slot where it is read from one.

import { readFileSync } from "node:fs";
import { ledgerFromSlot } from "../../../src/pipeline/ledger-from-slot.ts";
import { ledgerFromTables } from "../../../src/pipeline/ledger-from-tables.ts";
import { LedgerProgress, ProgressLines } from "../../../src/pipeline/ledger-progress.ts";
import { factsIn, readingOf } from "./reading.ts";

const [, , url = "", slot] = process.argv;
const progress = new LedgerProgress();
const lines = new ProgressLines(progress);
const shown: string[] = [];
const timer = setInterval(() => shown.push(lines.line(performance.now())), 500);
const options = readingOf(url, { progress });
const began = performance.now();
await using ledger =
  slot === undefined ? await ledgerFromTables(options) : await ledgerFromSlot({ ...options, slot });
const seconds = (performance.now() - began) / 1000;
clearInterval(timer);
const counts: Record<string, number> = {};
for (const { kind } of factsIn(ledger.path)) counts[kind] = (counts[kind] ?? 0) + 1;
const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
const mebibytes = Math.round(Number(peak) / 1024);
const cpu = process.cpuUsage();
const cpuSeconds = (cpu.user + cpu.system) / 1e6;
process.stdout.write(JSON.stringify({ seconds, cpuSeconds, mebibytes, counts, shown }));
