// `serve` with another grace for agents whose time is up: GRACE_MS milliseconds. Run as a process of its own.

import { readFileSync } from "node:fs";
import { serve } from "../../../src/commands/serve.ts";
import { parseConfig } from "../../../src/config.ts";
import { createLog } from "../../../src/log.ts";

await serve({
  config: parseConfig({
    flags: {},
    env: process.env,
    readFile: (path) => readFileSync(path, "utf8"),
  }),
  log: createLog({ level: "info", format: "json" }),
  version: "test",
  signal: new AbortController().signal,
  timing: { graceMs: Number(process.env["GRACE_MS"]) },
});
