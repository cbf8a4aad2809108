// The side of a measured process that takes commands: both exporters answer the same ones.

import { setImmediate as turn } from "node:timers/promises";

/** Milliseconds for which nothing else could run, at the most. */
export interface Slice {
  /** By the clock. */
  readonly wall: number;
  /** By this thread's CPU time: a neighbour that takes the core away is not in it. */
  readonly cpu: number;
}

export type Commands = Readonly<Record<string, () => unknown>>;

/** Tells the parent where it listens, then answers commands one after the other, with their result. */
export function takeCommands(port: number, commands: Commands): void {
  const watching = { on: false };
  let longest: Promise<Slice> | null = null;
  const all: Commands = {
    collect: () => gc(),
    watch: () => {
      watching.on = true;
      longest = longestSlice(watching);
    },
    longest: async () => {
      watching.on = false;
      return longest;
    },
    ...commands,
  };
  process.on("message", (name: string) => {
    void Promise.resolve(all[name]?.()).then((result) => process.send?.({ result }));
  });
  process.on("disconnect", () => process.exit());
  process.send?.({ result: port });
}

function gc(): void {
  if (globalThis.gc === undefined) throw new Error("needs --expose-gc");
  void globalThis.gc();
}

/** Takes a turn of the event loop again and again until told, which takes a core: not while CPU is measured. */
async function longestSlice(watching: { on: boolean }): Promise<Slice> {
  let wall = 0;
  let cpu = 0;
  let clock = performance.now();
  let used = cpuOfThread();
  while (watching.on) {
    await turn();
    const now = performance.now();
    const usedNow = cpuOfThread();
    wall = Math.max(wall, now - clock);
    cpu = Math.max(cpu, usedNow - used);
    clock = now;
    used = usedNow;
  }
  return { wall, cpu };
}

/** In milliseconds. Linux brings a thread's figure up to date every 4 ms only, unless its process' is asked for. */
function cpuOfThread(): number {
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
