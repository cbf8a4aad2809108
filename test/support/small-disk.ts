// A disk that can be filled: a small file system of its own, which only root can mount.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SmallDisk extends Disposable {
  readonly folder: string;
  /** Leaves this many bytes, or none if somebody else writes meanwhile. */
  fill(leaving: number): Promise<void>;
  clear(): Promise<void>;
}

/** A file system of 8 MB in memory; undefined where it can not be mounted. */
export function smallDisk(): SmallDisk | undefined {
  const folder = mkdtempSync(join(tmpdir(), "firstlight-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], { stdio: "ignore" });
  } catch {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  const filler = join(folder, "filler");
  return {
    folder,
    async fill(leaving) {
      const { bavail, bsize } = await statfs(folder);
      const bytes = Buffer.alloc(Math.max(0, Number(bavail) * Number(bsize) - leaving));
      await writeFile(filler, bytes).catch((error: NodeJS.ErrnoException) => {
        // The follower's write came in between: it is full all the same.
        if (error.code !== "ENOSPC") throw error;
      });
    },
    clear: async () => rm(filler),
    [Symbol.dispose]() {
      execFileSync("umount", [folder]);
      rmSync(folder, { recursive: true });
    },
  };
}

/** Probed once; tests that need it skip where it is false, and say so. */
export const mountable = ((): boolean => {
  using disk = smallDisk();
  return disk !== undefined;
})();
