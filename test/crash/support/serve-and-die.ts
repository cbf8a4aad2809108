// `serve`, which ends itself as a crash would at a named point of its live loop. Run as a process of its own:
// CRASH_POINT names the point, CRASH_AT says at which batch with facts (1 is the first).

import { readFileSync } from "node:fs";
import { serve } from "../../../src/commands/serve.ts";
import { parseConfig } from "../../../src/config.ts";
import { createLog } from "../../../src/log.ts";

const point = process.env["CRASH_POINT"];
const at = Number(process.env["CRASH_AT"]);
let batches = 0;

const config = parseConfig({
  flags: {},
  env: process.env,
  readFile: (path) => readFileSync(path, "utf8"),
});
await serve({
  config,
  log: createLog({ level: "info", format: "json" }),
  version: "test",
  signal: new AbortController().signal,
  onPoint: (reached, facts) => {
    if (reached !== point || facts === 0) return;
    batches += 1;
    // Takes effect before this call returns: the signal is our own and can not be held back.
    if (batches === at) process.kill(process.pid, "SIGKILL");
  },
});
