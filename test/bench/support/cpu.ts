// What a process used, as the kernel counts it: nanoseconds of CPU from the scheduler, memory from its status.

import { readFileSync, readdirSync } from "node:fs";

/** CPU time of all threads that live, in nanoseconds; 0 when the process is gone. Linux only. */
export function cpuOf(pid: number): number {
  let sum = 0;
  for (const thread of entriesOf(`/proc/${pid}/task`)) {
    sum += Number(textOf(`/proc/${pid}/task/${thread}/schedstat`).split(" ", 1)[0]);
  }
  return sum;
}

export interface Memory {
  /** Resident now, in bytes. */
  readonly rss: number;
  /** The most that was resident at a time. */
  readonly peak: number;
}

/** Memory of a process; zeros when it is gone. */
export function memoryOf(pid: number): Memory {
  const status = textOf(`/proc/${pid}/status`);
  return { rss: kilobytes(status, "VmRSS"), peak: kilobytes(status, "VmHWM") };
}

function kilobytes(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) * 1024;
}

/** CPU of several processes, by pid. */
export type Cpus = ReadonlyMap<number, number>;

export function cpusOf(pids: readonly number[]): Cpus {
  return new Map(pids.map((pid) => [pid, cpuOf(pid)]));
}

/** What those that live used since then, in nanoseconds: all of it if they were not there yet. */
export function cpuBetween(before: Cpus, after: Cpus): number {
  let sum = 0;
  for (const [pid, cpu] of after) sum += cpu - (before.get(pid) ?? 0);
  return sum;
}

/** CPU of processes that come and go: one that ended counts with what it had used when it was last looked at. */
export class CpuMeter {
  readonly #last = new Map<number, number>();

  /** Looks at these, and returns what all that were ever looked at have used, in nanoseconds. */
  look(pids: Iterable<number>): number {
    for (const pid of pids) this.#last.set(pid, Math.max(cpuOf(pid), this.#last.get(pid) ?? 0));
    return [...this.#last.values()].reduce((sum, cpu) => sum + cpu, 0);
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function entriesOf(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
