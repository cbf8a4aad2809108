// No server outlives the benchmark, not even one that is still being made when ^C comes. Nothing can be awaited any more then.

import { readFileSync, readlinkSync, rmSync } from "node:fs";
import { dirname } from "node:path";

const WITHIN_MS = 2_000;
const LOOK_EVERY_MS = 20;

/** Ends the Postgres servers that are children of this process, as a crash would, and removes their folders. Blocks. */
export function endServers(): void {
  const folders = servers().map(({ pid, folder }) => {
    process.kill(pid, "SIGQUIT");
    return folder;
  });
  const deadline = performance.now() + WITHIN_MS;
  while (servers().length > 0 && performance.now() < deadline) block(LOOK_EVERY_MS);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

interface Child {
  readonly pid: number;
  readonly folder: string;
}

function servers(): readonly Child[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim();
  return children.split(" ").flatMap((pid) => {
    try {
      if (readFileSync(`/proc/${pid}/comm`, "utf8") !== "postgres\n") return [];
      // A zombie has no working folder any more; a server's is the pgdata in the folder that was made for it.
      return [{ pid: Number(pid), folder: dirname(readlinkSync(`/proc/${pid}/cwd`)) }];
    } catch {
      return [];
    }
  });
}

function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
