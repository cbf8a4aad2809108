// A temporary folder for stores that outlive the processes that write them.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Folder extends AsyncDisposable {
  path(name: string): string;
}

export async function temporaryFolder(): Promise<Folder> {
  const root = await mkdtemp(join(tmpdir(), "firstlight-crash-"));
  return {
    path: (name) => join(root, name),
    async [Symbol.asyncDispose]() {
      await rm(root, { recursive: true, force: true });
    },
  };
}
