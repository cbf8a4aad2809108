// `verify` of a deployment with years of history: exact, and its memory. By default a twentieth of the size that baselines are
// promised for; FIRSTLIGHT_TEST_SCALE=1 is that size.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { temporaryFolder } from "../crash/support/folder.ts";
import { report } from "../crash/support/report.ts";
import { openDeployment } from "../scale/deployment.ts";
import { copySeconds, peakMebibytes } from "../scale/observe.ts";
import { startProcess, uniqueSlot } from "../support/firstlight.ts";
import { startVerify } from "./support/command.ts";

const SCALE = Number(process.env["FIRSTLIGHT_TEST_SCALE"] ?? 0.05);
const WORKSPACES = Math.round(100_000 * SCALE);
const TIMEOUT = SCALE >= 1 ? 900_000 : 120_000;
/** The same at any size: a process that has loaded everything, and the caches. */
const MOST_MEBIBYTES = 300;

test("no drift, in memory that does not grow with history", { timeout: TIMEOUT }, async () => {
  await using folder = await temporaryFolder();
  await using deployment = await openDeployment(WORKSPACES);
  const target = {
    url: deployment.url,
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
  };
  await using serve = await startProcess(target);
  await serve.caughtUp(TIMEOUT);
  const copy = await copySeconds(deployment.client);
  const began = performance.now();
  const verify = startVerify(target);
  const over = new AbortController();
  const ended = verify.ended.finally(() => over.abort());
  let peak = 0;
  while (!over.signal.aborted) {
    try {
      peak = peakMebibytes(verify.pid) || peak;
    } catch {
      break; // it has ended
    }
    await sleep(50);
  }
  const { code, out, err } = await ended;
  report(`verify of ${WORKSPACES} workspaces`, {
    "in s": ((performance.now() - began) / 1000).toFixed(1),
    "COPY in s": copy.toFixed(1),
    "peak MiB": peak,
  });
  expect(err).toBe("");
  expect(out).toMatch(/drift 0 at LSN/);
  expect(code).toBe(0);
  expect(peak).toBeGreaterThan(0);
  expect(peak).toBeLessThan(MOST_MEBIBYTES);
});
