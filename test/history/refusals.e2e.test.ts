// What `backfill` refuses, what it says, its exit codes, and that it leaves nothing; and how it stops.

import { mkdir, mkdtemp, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { SECOND, formatIso } from "../../src/change/micros.ts";
import { Store } from "../../src/store/store.ts";
import { CATALOG } from "../support/folding.ts";
import { until as condition } from "../support/firstlight.ts";
import { mountable, smallDisk } from "../support/small-disk.ts";
import { type Ended, manifestOf, runBackfill, startBackfill } from "./support/command.ts";
import { lifeOf, writeLedger } from "./support/deployment.ts";

if (!mountable) process.stderr.write("SKIPPED: full disk (only root can mount a small one)\n");

// Each is a process or several, which take their time to start on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const DAY = 86_400 * SECOND;
const UNTIL = Math.floor(Date.now() / 86_400_000) * DAY;
const LIFE = {
  organizations: 2,
  templates: 3,
  builds: 600,
  agents: 300,
  from: UNTIL - 30 * DAY,
  until: UNTIL,
};
const day = (ago: number): string => formatIso(UNTIL - ago * DAY).slice(0, 10);

let root = "";
let ledger = "";
let folder = "";
let runs = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "firstlight-refusals-"));
  ledger = join(root, "firstlight.db");
  writeLedger(ledger, lifeOf(LIFE));
});
beforeEach(async () => {
  folder = join(root, `run-${(runs += 1)}`);
  await mkdir(folder);
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Runs it on the good ledger with its files to go to `out` in a folder of the test's own. */
const run = (...args: string[]): Promise<Ended> =>
  runBackfill(["--state", ledger, "--out", join(folder, "out"), "--until", day(0), ...args]);

async function expectNothing(): Promise<void> {
  expect(await readdir(folder)).toEqual([]);
}

test("wrong usage: exit code 2, all mistakes listed, nothing written", async () => {
  const { code, out, err } = await run(
    "--since",
    "2027-02-30",
    "--step",
    "0s",
    "--slot",
    "No",
    "--label",
    "x",
  );
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toContain('--since "2027-02-30": must be a time');
  expect(err).toContain('--step "0s": must be whole seconds');
  expect(err).toContain('--slot "No": must be 1 to 63');
  expect(err).toContain('--label "x": must be name=value');
  expect(await run("--form", "x")).toMatchObject({
    code: 2,
    err: expect.stringContaining("unknown option"),
  });
  await expectNothing();
});

test.each([
  [
    "ends before it begins",
    ["--since", day(1), "--until", day(2)],
    "--since: must be earlier than --until",
  ],
  [
    "is before there was anything",
    ["--since", day(90), "--until", day(80)],
    "--since, --until: nothing was counted up to",
  ],
  [
    "has no step in it",
    ["--since", `${day(3)}T00:00:01Z`, "--until", `${day(3)}T00:30:00Z`, "--step", "1h"],
    "no multiple of the step (3600 s)",
  ],
  [
    "is too new for promtool",
    ["--since", "2h", "--until", "1h"],
    "is within the last 3 hours, of which promtool takes nothing",
  ],
  [
    "has a label of the metrics",
    ["--label", "template_name=x"],
    "--label template_name: is a label of the metrics themselves",
  ],
  [
    "has a label of histograms",
    ["--label", "le=1"],
    "--label le: is a label of the metrics themselves",
  ],
])("a window that %s: exit code 2", async (_what, args, message) => {
  const { code, err } = await run(...args);
  expect(err).toContain(message);
  expect(code).toBe(2);
  await expectNothing();
});

test("more samples than allowed: exit code 3, with the estimate and what would help, before anything is written", async () => {
  const { code, out, err } = await run("--max-samples", "1000");
  expect(out).toMatch(/: [\d,]+ series, [\d,]+ samples, about [\d.]+ MB in \d+ files\n$/);
  expect(err).toMatch(
    /[\d,]+ samples are more than --max-samples 1,000; nothing was written\nWhat to do: .*most: time_to_first_light_seconds [\d,]+/,
  );
  expect(code).toBe(3);
  await expectNothing();
});

test("the three hours are cut off and said, and a window that ends earlier is left alone", async () => {
  const cut = await run("--until", "1h", "--since", day(2), "--out", join(folder, "cut"));
  expect(cut.code).toBe(0);
  expect(cut.out).toMatch(
    /^ends 3 hours ago, at \S+, instead of \S+: promtool takes nothing newer$/m,
  );
  const { until } = await manifestOf(join(folder, "cut"));
  expect(Date.now() - Date.parse(until)).toBeGreaterThan(3 * 3_600_000);
  expect(Date.now() - Date.parse(until)).toBeLessThan(3 * 3_600_000 + 400_000);
  const earlier = await run("--since", day(9), "--until", day(2));
  expect(earlier.out).not.toContain("promtool takes nothing newer");
  expect((await manifestOf(join(folder, "out"))).until).toBe(`${day(2)}T00:00:00.000000Z`);
  // Another database takes what is newer.
  const newer = await run(
    "--format",
    "victoriametrics",
    "--until",
    "1m",
    "--out",
    join(folder, "newer"),
  );
  expect(newer.code).toBe(0);
  expect(Date.now() - Date.parse((await manifestOf(join(folder, "newer"))).until)).toBeLessThan(
    600_000,
  );
});

test("families of single workspaces and gauges are left out and named, until somebody asks for them", async () => {
  const { out } = await run("--families", "default,agents_up", "--step", "1d");
  expect(out).toMatch(/^left out: agents_up, a gauge/m);
  expect(out).toMatch(
    /^left out: agents_first_connection_seconds, with a series for each workspace; --families default,agents_first_connection_seconds has it, or --agent-labels template_name,agent_name$/m,
  );
  const { families } = await manifestOf(join(folder, "out"));
  expect(families).toContain("coderd_workspace_creation_attempts_total");
  expect(families).not.toContain("coderd_agents_first_connection_seconds");
  const named = await run(
    "--families",
    "default,agents_first_connection_seconds",
    "--step",
    "1d",
    "--out",
    join(folder, "named"),
  );
  expect(named.out).not.toContain("left out: agents_first_connection_seconds");
  expect((await manifestOf(join(folder, "named"))).families).toContain(
    "coderd_agents_first_connection_seconds",
  );
});

test("a target that has files is refused, and they stay", async () => {
  await mkdir(join(folder, "out"));
  await writeFile(join(folder, "out", "mine"), "mine");
  const { code, err } = await run();
  expect(err).toContain("there are files in");
  expect(code).toBe(3);
  expect(await readdir(folder)).toEqual(["out"]);
  expect(await readFile(join(folder, "out", "mine"), "utf8")).toBe("mine");
});

test("where there can be no folder: exit code 3", async () => {
  const { code, err } = await run("--out", "/proc/firstlight");
  expect(err).toMatch(/can not be written: .*\nWhat to do: /);
  expect(code).toBe(3);
});

test.skipIf(!mountable)("a full disk: exit code 3, and nothing is left on it", async () => {
  using disk = smallDisk();
  if (!disk) throw new Error("it could be mounted a moment ago");
  const { code, err } = await run("--out", join(disk.folder, "out"));
  expect(err).toMatch(/can not be written: ENOSPC.*\nWhat to do: give it more room/);
  expect(code).toBe(3);
  expect(await readdir(disk.folder)).toEqual([]);
});

test("a store that is not there, empty, newer or damaged: exit code 3, and nothing is written", async () => {
  const absent = await run("--state", join(folder, "no.db"));
  expect(absent).toMatchObject({ code: 3, err: expect.stringContaining("there is no store") });
  await expectNothing();

  const state = join(root, "other.db");
  writeLedger(state, []);
  const empty = await run("--state", state);
  expect(empty).toMatchObject({
    code: 3,
    err: expect.stringContaining("the ledger has no fact up to LSN 16/B374D848"),
  });

  const newer = new DatabaseSync(state);
  newer.exec("pragma user_version = 99");
  newer.close();
  expect(await run("--state", state)).toMatchObject({
    code: 3,
    err: expect.stringContaining("written by a newer Firstlight"),
  });

  const damaged = join(root, "damaged.db");
  await writeFile(damaged, await readFile(ledger));
  await truncate(damaged, 60_000);
  expect(await run("--state", damaged)).toMatchObject({
    code: 3,
    err: expect.stringMatching(/damaged/),
  });
  await expectNothing();
});

test("beside a process that has the store, whose files stay as they are", async () => {
  using store = Store.open({ path: ledger, catalog: CATALOG });
  store.load();
  const before = (await readdir(root)).filter((name) => name.startsWith("firstlight.db")).sort();
  const { code, out } = await run("--step", "1d");
  expect(code).toBe(0);
  expect(out).toContain("promtool tsdb create-blocks-from --max-block-duration=54h openmetrics");
  const after = (await readdir(root)).filter((name) => name.startsWith("firstlight.db")).sort();
  expect(after).toEqual(before);
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s in the middle: exit code 3, and nothing is left",
  async (signal) => {
    // Enough to write that it can not be done by then.
    const backfill = startBackfill([
      "--state",
      ledger,
      "--out",
      join(folder, "out"),
      "--until",
      day(0),
      "--step",
      "5s",
      "--max-samples",
      "9999999999",
    ]);
    await condition("it writes", async () => {
      const [unfinished] = await readdir(folder);
      return unfinished !== undefined && (await readdir(join(folder, unfinished))).length > 0;
    });
    backfill.child.kill(signal);
    const { code, out, err } = await backfill.ended;
    expect(err).toBe("firstlight: stopped, nothing was written\n");
    expect(out).not.toContain("To load");
    expect(code).toBe(3);
    await expectNothing();
  },
);
