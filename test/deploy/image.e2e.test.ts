// What the image holds, without a container engine: its production packages and the built command in a folder that nobody may write to,
// run as a user who owns nothing but the state. Takes packages from npm (its cache, after an install), so it is skipped outside CI.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { must } from "../../src/errors.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { createDatabase } from "../support/database.ts";
import { outsideEnvironment, publish, uniqueSlot, until } from "../support/firstlight.ts";
import { NODE_FLAGS } from "../support/node-flags.ts";
import { parseScrape, sumOf, valueOf } from "../support/scrape.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const NOBODY = 65_534;
const IS_ROOT = process.getuid?.() === 0;
const skipped = process.env["CI"] ? undefined : "takes packages from npm: set CI=1";
const title = (about: string): string => (skipped ? `SKIPPED, ${skipped}: ${about}` : about);

/** Also where this user's umask or home is closed to others. */
function readableBy(folder: string): void {
  execFileSync("chmod", ["-R", "a+rX,a-w", folder]);
}

/** Makes what deploy/Dockerfile makes below /app, and a Node beside it. */
function makeApp(app: string): void {
  mkdirSync(app, { recursive: true });
  for (const file of ["package.json", "package-lock.json"])
    cpSync(join(ROOT, file), join(app, file));
  execFileSync("npm", ["ci", "--omit=dev", "--ignore-scripts", "--prefer-offline", "--no-audit"], {
    cwd: app,
    env: outsideEnvironment(),
  });
  const compiler = fileURLToPath(import.meta.resolve("typescript/package.json"));
  execFileSync(
    process.execPath,
    [
      join(dirname(compiler), "bin/tsc"),
      "-p",
      "tsconfig.build.json",
      "--outDir",
      join(app, "dist"),
    ],
    { cwd: ROOT },
  );
  cpSync(join(ROOT, "sql"), join(app, "sql"), { recursive: true });
  readableBy(app);
}

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();

/** Resolves with the port of a `serve` that listens. */
async function portOf(child: ChildProcess, lines: string[]): Promise<number> {
  for await (const line of createInterface(must(child.stderr, "no stderr"))) {
    lines.push(line);
    if (line.includes('"listening"')) return (JSON.parse(line) as { port: number }).port;
  }
  throw new Error(`it ended:\n${lines.join("\n")}`);
}

test.skipIf(skipped)(
  title(
    "production packages alone, read-only, as nobody: it follows, keeps its state where it is told to, and stops with 0",
  ),
  { timeout: 400_000 },
  async () => {
    await using folder = await temporaryFolder();
    const app = folder.path("app");
    makeApp(app);
    // So that an ordinary user can remove it.
    await using _removable = {
      [Symbol.asyncDispose]: async () => void execFileSync("chmod", ["-R", "u+w", app]),
    };
    const packages = readdirSync(join(app, "node_modules"));
    const { devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      devDependencies: Record<string, string>;
    };
    for (const name of Object.keys(devDependencies))
      expect(packages).not.toContain(name.split("/")[0] === "@types" ? "@types" : name);

    const node = folder.path("node");
    cpSync(process.execPath, node);
    chmodSync(node, 0o555);
    const state = folder.path("state");
    const temporary = folder.path("tmp");
    for (const each of [state, temporary]) {
      mkdirSync(each);
      if (IS_ROOT) chownSync(each, NOBODY, NOBODY);
    }
    chmodSync(dirname(state), 0o755);
    const before = filesBelow(app);

    await using database = await createDatabase();
    await publish(await database.client());
    await using simulation = openSimulation({
      url: database.url,
      seed: 12,
      startAt: 1_787_300_000_000_000,
    });
    await simulation.seedDeployment();
    await simulation.run({ workflows: 20 });
    const env = {
      NODE_ENV: "production",
      TMPDIR: temporary,
      FIRSTLIGHT_DATABASE_URL: database.url,
      FIRSTLIGHT_SLOT: uniqueSlot(),
      FIRSTLIGHT_STATE: join(state, "firstlight.db"),
      FIRSTLIGHT_LISTEN: "127.0.0.1:0",
      FIRSTLIGHT_READ_EVERY: "200ms",
    };
    const who = IS_ROOT ? { uid: NOBODY, gid: NOBODY } : {};
    const options = { cwd: app, env, ...who } as const;
    const main = join(app, "dist/main.js");
    const child = spawn(node, [...NODE_FLAGS, main, "serve"], {
      ...options,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const exit = once(child, "exit");
    try {
      const lines: string[] = [];
      const port = await portOf(child, lines);
      child.stderr?.resume();
      const page = async () =>
        parseScrape(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
      await until("totals are shown", async () => (await page()).hasTotals);
      // They are shown as soon as the tables are read, which is before the slot is followed.
      await until(
        "it follows",
        async () => valueOf(await page(), "firstlight_stream_connected") === 1,
      );
      expect(sumOf(await page(), "coderd_workspace_creation_attempts_total")).toBeGreaterThan(0);
      const verify = execFileSync(node, [main, "verify"], { ...options, encoding: "utf8" });
      expect(verify).toMatch(/^drift 0 at LSN /m);
    } finally {
      child.kill("SIGTERM");
    }
    expect((await exit)[0]).toBe(0);
    expect(readdirSync(state).sort()).toEqual(["firstlight.db", "firstlight.db.lock"]);
    expect(readdirSync(temporary)).toEqual([]);
    expect(filesBelow(app)).toEqual(before);
  },
);
