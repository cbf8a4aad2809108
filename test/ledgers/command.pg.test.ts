// `firstlight backfill --from tables` and `--from slot NAME`, as a process.

import { execFile } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { temporaryFolder } from "../crash/support/folder.ts";
import { outsideEnvironment } from "../support/firstlight.ts";
import { openScene } from "./support/scene.ts";

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

async function filesIn(out: string): Promise<readonly (readonly [string, string])[]> {
  const names = (await readdir(out)).filter((name) => name !== "manifest.json").sort();
  return Promise.all(
    names.map(async (name) => [name, await readFile(join(out, name), "utf8")] as const),
  );
}

test(
  "files from the tables and from a slot, and an unknown slot by its exit code",
  { timeout: 120_000 },
  async () => {
    await using scene = await openScene({ seed: 3, history: 0 });
    for (const name of ["createRegular", "claim", "createFails"] as const)
      await scene.simulation.workflows[name]();
    await using folder = await temporaryFolder();
    const backfill = async (out: string, ...from: string[]): Promise<{ stdout: string }> => {
      const args = ["--database-url", scene.database.url, "--until", "2026-08-22T00:00:00Z"];
      return run(process.execPath, [MAIN, "backfill", ...args, "--out", out, "--from", ...from], {
        env: outsideEnvironment(),
      });
    };
    const { stdout } = await backfill(folder.path("tables"), "tables");
    expect(stdout).toContain("promtool tsdb create-blocks-from");
    await backfill(folder.path("slot"), "slot", scene.parked);
    const files = await filesIn(folder.path("tables"));
    expect(files.map(([, text]) => text).join("")).toMatch(
      /^coderd_workspace_creation_attempts_total\{.*\} [1-9]/m,
    );
    expect(await filesIn(folder.path("slot"))).toEqual(files);
    const manifest = JSON.parse(
      await readFile(folder.path("slot/manifest.json"), "utf8"),
    ) as Record<string, unknown>;
    expect(manifest["source"]).toMatchObject({ from: "slot" });

    await expect(backfill(folder.path("none"), "slot", "nope")).rejects.toMatchObject({
      code: 3,
      stderr: expect.stringContaining("there is no slot nope") as string,
    });
    expect(await readdir(folder.path("."))).not.toContain("none");
  },
);
