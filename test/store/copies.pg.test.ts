// Copies of the ledger as docs/operations.md makes them: beside a running serve, restored later, and followed on.

import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { must } from "../../src/errors.ts";
import { schemaVersion } from "../../src/store/file.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { publish, startInProcess, uniqueSlot } from "../support/firstlight.ts";
import { byLabels } from "../support/scrape.ts";

const page = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");

/** The `node -e` of the page that contains this, with these files in the place of its own. */
function runOfPage(containing: string, ...files: string[]): string {
  const programs = [...page.matchAll(/^node -e '(.+?)' \./gm)].map(([, program = ""]) => program);
  const program = must(
    programs.find((each) => each.includes(containing)),
    `no command with ${containing}`,
  );
  return execFileSync(process.execPath, ["-e", program, ...files], {
    encoding: "utf8",
    stdio: "pipe",
  });
}

test(
  "a copy that was made beside a running serve is restored: what came since is told by the tables, once",
  { timeout: 120_000 },
  async () => {
    await using database = await createDatabase();
    await using folder = await temporaryFolder();
    const client = await database.client();
    await publish(client);
    await using simulation = openSimulation({
      url: database.url,
      seed: 21,
      startAt: 1_787_300_000_000_000,
    });
    await simulation.seedDeployment();
    await simulation.run({ workflows: 20 });
    const target = {
      url: database.url,
      slot: uniqueSlot(),
      statePath: folder.path("firstlight.db"),
    };
    const copy = folder.path("copy.db");
    {
      await using first = await startInProcess(target);
      await first.caughtUp();
      runOfPage("vacuum into", target.statePath, copy);
      expect(() => runOfPage("vacuum into", target.statePath, copy), "it is there").toThrow();
      expect(runOfPage("user_version", copy)).toContain(`user_version: ${schemaVersion()}`);
      await simulation.run({ workflows: 20 });
      await expectSumsEqualRecount(client, await first.caughtUp());
    }
    for (const suffix of ["", "-wal", "-shm"])
      rmSync(`${target.statePath}${suffix}`, { force: true });
    await using restored = await startInProcess({ ...target, statePath: copy });
    const after = await restored.caughtUp();
    await expectSumsEqualRecount(client, after);
    expect(Object.fromEntries(byLabels(after, "firstlight_gaps_total"))).toEqual({
      '["slot_ahead"]': 1,
    });
    await restored[Symbol.asyncDispose]();
    await expectLedgerEqualsTables(client, copy, simulation);
  },
);
