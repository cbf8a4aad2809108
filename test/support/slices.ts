// How long others have to wait for something that runs in slices.

import { setImmediate as turn } from "node:timers/promises";

/** The longest time that others had to wait while this ran, in microseconds. */
export async function longestSlice(run: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  const running = { now: true };
  const ended = turn()
    .then(run)
    .finally(() => (running.now = false));
  // CPU time of this thread: a neighbour that takes the core away is not our doing.
  for (let before = cpuOfThread(); running.now; before = cpuOfThread()) {
    await turn();
    longest = Math.max(longest, cpuOfThread() - before);
  }
  await ended;
  return longest;
}

/** In microseconds. Linux brings a thread's figure up to date every 4 ms only, unless its process' is asked for. */
function cpuOfThread(): number {
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return user + system;
}
