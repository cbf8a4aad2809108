// The proof, as somebody runs it who wants to be convinced; and that giving it up leaves nothing behind.

import { execFile, spawn } from "node:child_process";
import { chmod, readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { temporaryFolder } from "../crash/support/folder.ts";
import { outsideEnvironment, until } from "../support/firstlight.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const run = promisify(execFile);

/** Columns of a printed row are at least two spaces apart. */
const columns = (line: string): string[] => line.trim().split(/\s{2,}/);

test(
  "the proof ends with drift 0, and shows where coderd's query goes wrong",
  { timeout: 180_000 },
  async () => {
    // A database that is configured is not what is proved on.
    const env = { ...outsideEnvironment(), DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" };
    const { stdout } = await run(process.execPath, [MAIN, "--prove"], { env });
    const lines = stdout.trimEnd().split("\n");
    const head = lines.findIndex((line) => line.includes("coderd's query"));
    const [start, killed, deleted, renamed, dropped, promoted] = lines
      .slice(head + 1, head + 7)
      .map(columns);
    for (const row of [start, killed, deleted, dropped, promoted]) {
      expect(row?.[2], row?.[0]).toMatch(/^\d+$/);
      expect(row?.[2], row?.[0]).toBe(row?.[3]);
    }
    expect(Number(killed?.[2])).toBeGreaterThan(Number(start?.[2]));
    expect(Number(dropped?.[2])).toBeGreaterThan(Number(deleted?.[2]));
    expect(Number(promoted?.[2])).toBeGreaterThan(Number(dropped?.[2]));
    expect(deleted?.[1]).toMatch(/^\d+ → \d+$/);
    expect(renamed?.[1]).toMatch(/^\d+ → gone$/);
    expect(renamed?.[2]).toMatch(/^[1-9]\d*$/);
    expect(stdout).toContain("Aggregates over Coder's tables: 0.");
    expect(stdout).toMatch(
      /Asked of the database: [1-9]\d* statements about the slot, [1-9]\d* look-ups by key, [1-9]/,
    );
    expect(stdout).toMatch(/Scraped [1-9]\d* times meanwhile; series that fell or vanished: 0\./);
    expect(lines.at(-1)).toMatch(/^drift 0 at LSN /);
  },
);

test("a proof that is given up leaves no process and no folder", { timeout: 90_000 }, async () => {
  await using temporary = await temporaryFolder();
  const folder = temporary.path("");
  // Where this is root, Postgres runs as somebody else, who must get at its folder.
  await chmod(folder, 0o755);
  const child = spawn(process.execPath, [MAIN, "demo", "--prove"], {
    env: { ...outsideEnvironment(), TMPDIR: folder },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  try {
    await until("the first row is there", () => out.includes("the start:"), 60_000);
    expect(await runningUnder(folder)).not.toEqual([]);
  } finally {
    child.kill("SIGINT");
  }
  expect(await ended).toBe(3);
  expect(await readdir(folder)).toEqual([]);
  await until("no process is left", async () => (await runningUnder(folder)).length === 0);
});

/** Command lines of processes that have something to do with this folder. */
async function runningUnder(path: string): Promise<string[]> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map(async (pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return lines.filter((line) => line.includes(path));
}
