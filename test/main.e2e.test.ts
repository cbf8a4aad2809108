// The process: arguments, exit codes, signals, and the demo that `npm start` is when no database is configured.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chmod, readdir } from "node:fs/promises";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { freePort } from "../src/demo/server.ts";
import { temporaryFolder } from "./crash/support/folder.ts";
import { createDatabase } from "./support/database.ts";
import {
  outsideEnvironment,
  publish,
  startProcess,
  uniqueSlot,
  until,
} from "./support/firstlight.ts";
import { type Scrape, parseScrape, sumOf, unbalanced } from "./support/scrape.ts";

const MAIN = new URL("../src/main.ts", import.meta.url).pathname;
const ROOT = new URL("..", import.meta.url).pathname;
const run = promisify(execFile);

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** An environment in which no database is configured, neither by our variables nor by everybody's. */
function bareEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { DATABASE_URL: _, ...env } = outsideEnvironment();
  return { ...env, ...extra };
}

async function firstlight(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const options = { env: bareEnvironment(env), timeout: 30_000 };
  try {
    const { stdout, stderr } = await run(process.execPath, [MAIN, ...args], options);
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, out: stdout, err: stderr };
  }
}

describe("help", () => {
  test("--help lists the commands and the options with their variables and defaults", async () => {
    const { code, out, err } = await firstlight(["--help"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const word of [
      "serve",
      "demo",
      "setup",
      "teardown",
      "verify",
      "doctor",
      "--listen",
      "[FIRSTLIGHT_LISTEN]",
      "127.0.0.1:9788",
    ])
      expect(out).toContain(word);
  });

  test("serve --help is that of serve", async () => {
    const { code, out } = await firstlight(["serve", "--help"]);
    expect(code).toBe(0);
    expect(out).toContain("Usage: firstlight serve");
    expect(out).toContain("--database-url");
  });

  test("--version is that of the package", async () => {
    expect(await firstlight(["--version"])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });
});

describe("wrong usage", () => {
  test("every mistake is listed, of flags and of variables, and the code is 2", async () => {
    const { code, out, err } = await firstlight(
      ["serve", "--listen", "nowhere", "--slot", "Not A Slot", "--agent-labels", "shoe_size"],
      { FIRSTLIGHT_LOG_LEVEL: "loud", FIRSTLIGHT_SLOTT: "x" },
    );
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(/^firstlight: wrong configuration:\n/);
    for (const mistake of [
      '--listen "nowhere": ',
      '--slot "Not A Slot": ',
      '--agent-labels "shoe_size": ',
      'FIRSTLIGHT_LOG_LEVEL "loud": must be one of fatal, error',
      "FIRSTLIGHT_SLOTT: is not known; did you mean FIRSTLIGHT_SLOT?",
      "--database-url: is missing",
    ])
      expect(err).toContain(`\n  ${mistake}`);
  });

  test.each([
    ["an unknown flag", ["serve", "--lisen", "127.0.0.1:0"], "unknown option '--lisen'"],
    ["an unknown command", ["sevre"], "error: unknown command 'sevre'"],
    ["a flag without its value", ["serve", "--listen"], "argument missing"],
    [
      "a wrong value of a flag",
      ["serve", "--series-retire-after", "1w"],
      '--series-retire-after "1w": must be never, or from 1s to 36500d',
    ],
    [
      "a wrong flag of the demo",
      ["demo", "--seed", "zero"],
      "--seed zero: must be a number above 0",
    ],
  ])("%s: 2", async (_what, args, said) => {
    const { code, err } = await firstlight(args);
    expect(code).toBe(2);
    expect(err).toContain(said);
  });

  test("a password in a wrong URL is not repeated", async () => {
    const url = "postgres://somebody:c4nary-password@host:notaport/coder";
    const { code, out, err } = await firstlight(["serve", "--database-url", url]);
    expect(code).toBe(2);
    expect(out + err).not.toContain("c4nary-password");
  });
});

describe("flags after a command belong to that command", () => {
  test.each(["serve", "demo", "setup"])("%s --listen", async (command) => {
    const { code, err } = await firstlight([command, "--listen", "nowhere"]);
    expect(code).toBe(2);
    expect(err).toContain('--listen "nowhere": ');
  });

  test("setup --publication", async () => {
    const { code, out } = await firstlight(["setup", "--publication", "dawn"]);
    expect(code).toBe(0);
    expect(out).toContain('create publication "dawn" for table');
  });

  test("the flag wins over the variable", async () => {
    const { out } = await firstlight(["setup", "--publication", "dawn"], {
      FIRSTLIGHT_PUBLICATION: "dusk",
    });
    expect(out).toContain('"dawn"');
    expect(out).not.toContain("dusk");
  });
});

test("setup prints the SQL, touches nothing and needs no database", async () => {
  const { code, out, err } = await firstlight(["setup"]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(out).toContain('create publication "firstlight" for table');
  expect(out).toContain("grant select (");
  for (const secret of ["auth_token", "provisioner_state"])
    expect(out).not.toMatch(new RegExp(`\\b${secret}\\b`));
});

test("setup and teardown have flags of their own, and print without asking anybody", async () => {
  const rds = await firstlight(["setup", "--provider", "rds", "--role", "news", "--with-slot"]);
  expect({ code: rds.code, err: rds.err }).toEqual({ code: 0, err: "" });
  expect(rds.out).toContain('grant rds_replication to "news";');
  expect(rds.out).toContain("pg_create_logical_replication_slot('firstlight', 'pgoutput');");
  const { code, err } = await firstlight(["setup", "--provider", "heroku"]);
  expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("must be one of rds,") });
  const gone = await firstlight(["teardown", "--role", "news", "--slot", "dawn"]);
  expect({ code: gone.code, err: gone.err }).toEqual({ code: 0, err: "" });
  expect(gone.out).toContain('drop role "news";');
  expect(gone.out).toContain("where slot_name = 'dawn';");
});

test("teardown --apply while serve runs: exit code 3, what to do, and nothing is gone", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  const [slot, statePath] = [uniqueSlot(), folder.path("firstlight.db")];
  await using serving = await startProcess({ url: database.url, slot, statePath });
  await serving.caughtUp();
  const flags = ["teardown", "--apply", "--database-url", database.url, "--slot", slot];
  const { code, err } = await firstlight(flags);
  expect(code).toBe(3);
  expect(err).toContain("What to do: nothing was removed: stop Firstlight first");
  expect(await serving.terminate()).toBe(0);
  expect((await firstlight(flags)).code).toBe(0);
  const { rows } = await client.query(
    "select slot_name from pg_replication_slots where slot_name = $1 union all select pubname from pg_publication",
    [slot],
  );
  expect(rows).toEqual([]);
});

describe("serve", () => {
  test.each(["SIGTERM", "SIGINT"] as const)(
    "%s ends it with 0 within 5 s, its work done",
    async (signal) => {
      await using database = await createDatabase();
      await using folder = await temporaryFolder();
      const client = await database.client();
      await publish(client);
      const [slot, statePath] = [uniqueSlot(), folder.path("firstlight.db")];
      await using serving = await startProcess({ url: database.url, slot, statePath });
      await serving.caughtUp();
      const began = Date.now();
      process.kill(serving.pid, signal);
      expect(await serving.exit).toBe(0);
      expect(Date.now() - began).toBeLessThan(5_000);
      expect(serving.log.join("\n")).toContain('"message":"stopped"');
      const { rows } = await client.query<{ active: boolean }>(
        "select active from pg_replication_slots where slot_name = $1",
        [slot],
      );
      expect(rows).toHaveLength(1);
      await until("the slot is free", async () => {
        const now = await client.query(
          "select from pg_replication_slots where slot_name = $1 and active",
          [slot],
        );
        return now.rows.length === 0;
      });
    },
  );

  test("a second process on the same store ends with 3", async () => {
    await using database = await createDatabase();
    await using folder = await temporaryFolder();
    await publish(await database.client());
    const target = {
      url: database.url,
      slot: uniqueSlot(),
      statePath: folder.path("firstlight.db"),
    };
    await using first = await startProcess(target);
    await first.caughtUp();
    const { code, err } = await firstlight([
      "serve",
      "--database-url",
      target.url,
      "--slot",
      target.slot,
      "--state",
      target.statePath,
      "--listen",
      "127.0.0.1:0",
    ]);
    expect(code).toBe(3);
    expect(err).toContain("another process uses the store");
    expect(err).toContain("What to do: one store is one process");
  });

  test("an address that is taken ends it with 3", async () => {
    await using database = await createDatabase();
    await using folder = await temporaryFolder();
    await publish(await database.client());
    const target = { url: database.url, slot: uniqueSlot(), statePath: folder.path("one.db") };
    await using first = await startProcess(target);
    const { code, err } = await firstlight([
      "serve",
      "--database-url",
      target.url,
      "--state",
      folder.path("two.db"),
      "--listen",
      `127.0.0.1:${first.port}`,
    ]);
    expect(code).toBe(3);
    expect(err).toContain(`can not listen on 127.0.0.1:${first.port} (EADDRINUSE)`);
  });
});

/** Within this long after `npm start` there must be something to look at. */
const SHOWN_WITHIN_MS = 60_000;
const SEEDS = [
  "coderd_workspace_creation_attempts_total",
  "coderd_workspace_creation_outcomes_total",
  "coderd_agents_first_connection_seconds_count",
];

describe("npm start without a database is the demo", () => {
  test(
    "it shows the three families within 60 s, and leaves nothing behind at SIGTERM",
    async () => {
      await using temporary = await temporaryFolder();
      const folder = temporary.path("");
      // Where this is root, Postgres runs as somebody else, who must get at its folder.
      await chmod(folder, 0o755);
      const port = await freePort();
      const began = Date.now();
      const { child, printed } = npmStart(["--listen", `127.0.0.1:${port}`], folder);
      const ended = new Promise((resolve) => child.once("close", resolve));
      try {
        await until("readyz is 200", () => isReady(port), SHOWN_WITHIN_MS);
        await until("all three families have counted", async () => {
          const scrape = await scrapeOf(port);
          return SEEDS.every((family) => sumOf(scrape, family) > 0);
        });
        expect(Date.now() - began).toBeLessThan(SHOWN_WITHIN_MS);
        expect(unbalanced(await scrapeOf(port))).toEqual([]);
        expect(printed()).toContain(`http://127.0.0.1:${port}/metrics`);
        expect(await processesIn(folder)).not.toEqual([]);
      } finally {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGTERM");
        await ended;
      }
      expect(printed()).toContain("Stopped.");
      await until("no process is left", async () => (await processesIn(folder)).length === 0);
      // npm's own, which it keeps for the next time.
      const npms = ["node-compile-cache"];
      expect((await readdir(folder)).filter((name) => !npms.includes(name))).toEqual([]);
    },
    SHOWN_WITHIN_MS + 30_000,
  );
});

/** `npm start` in a process group of its own, with its temporary files in the folder. */
function npmStart(
  args: readonly string[],
  folder: string,
): { readonly child: ChildProcess; readonly printed: () => string } {
  const child = spawn("npm", ["start", "--", ...args], {
    cwd: ROOT,
    env: bareEnvironment({ TMPDIR: folder }),
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const texts: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => void texts.push(text));
  }
  return { child, printed: () => texts.join("") };
}

async function isReady(port: number): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
  return answer?.status === 200;
}

async function scrapeOf(port: number): Promise<Scrape> {
  return parseScrape(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
}

/** Command lines that mention the folder: the Postgres servers that run there. */
async function processesIn(folder: string): Promise<string[]> {
  const { stdout } = await run("ps", ["-eo", "args"]);
  return stdout.split("\n").filter((line) => line.includes(folder));
}
