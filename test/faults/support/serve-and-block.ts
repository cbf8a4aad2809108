// `serve`, whose event loop stands still for a while after a named commit, as it does when a disk hangs. Run as a process of
// its own: BLOCK_AT says after which batch with facts (1 is the first), BLOCK_MS for how long.

import { readFileSync } from "node:fs";
import { serve } from "../../../src/commands/serve.ts";
import { parseConfig } from "../../../src/config.ts";
import { createLog } from "../../../src/log.ts";

const at = Number(process.env["BLOCK_AT"]);
const ms = Number(process.env["BLOCK_MS"]);
let batches = 0;

const config = parseConfig({
  flags: {},
  env: process.env,
  readFile: (path) => readFileSync(path, "utf8"),
});
const log = createLog({ level: "info", format: "json" });
await serve({
  config,
  log,
  version: "test",
  signal: new AbortController().signal,
  onPoint: (point, facts) => {
    if (point !== "after commit, before show" || facts === 0) return;
    batches += 1;
    if (batches !== at) return;
    log.info("blocked", {});
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    log.info("unblocked", {});
  },
});
