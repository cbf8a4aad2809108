// `verify` as a process beside `serve`: its words, its exit codes, and what it leaves behind, which is nothing.

import { randomUUID } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { must } from "../../src/errors.ts";
import { FACT_KINDS, bytesToId, idToBytes } from "../../src/store/codec.ts";
import { type Process, startProcess, until } from "../support/firstlight.ts";
import { type Running, runVerify, startVerify } from "./support/command.ts";
import { type Scene, meddle, openScene, temporarySlots } from "./support/scene.ts";

/** Follows until everything is counted, and stops. */
async function followOnce(scene: Scene): Promise<void> {
  await using serve = await startProcess(scene);
  await serve.caughtUp();
  expect(await serve.terminate()).toBe(0);
}

test("one row removed, two added and one changed by hand: names exactly those", async () => {
  await using scene = await openScene({ seed: 11, history: 30 });
  await followOnce(scene);
  const { rows } = await scene.client.query<{ id: string }>(
    `select agents.id from workspace_agents as agents
     join workspace_resources as resources on resources.id = agents.resource_id
     join workspace_builds as builds on builds.job_id = resources.job_id
     where first_connected_at is null limit 1`,
  );
  const waits = must(rows[0], "every agent has connected").id;
  const nobody = randomUUID();
  const touched = { removed: "", changed: "" };
  meddle(scene.statePath, (db) => {
    const some = (kind: number): Uint8Array =>
      must(db.prepare("select id from fact where kind = ? limit 1").get(kind), "no fact")[
        "id"
      ] as Uint8Array;
    const removed = some(FACT_KINDS.ended);
    const changed = some(FACT_KINDS.connected);
    touched.removed = bytesToId(removed);
    touched.changed = bytesToId(changed);
    db.prepare("delete from fact where kind = ? and id = ?").run(FACT_KINDS.ended, removed);
    db.prepare("update fact set took = took + 1 where kind = ? and id = ?").run(
      FACT_KINDS.connected,
      changed,
    );
    const add = db.prepare(
      `insert into fact (kind, id, at, end_lsn, names, took, ending, traits)
       select kind, ?, at, end_lsn, names, took, ending, traits from fact where kind = ? limit 1`,
    );
    add.run(idToBytes(waits), FACT_KINDS.connected);
    add.run(idToBytes(nobody), FACT_KINDS.attempted);
  });
  await using serve = await startProcess(scene);
  await serve.caughtUp();
  const { code, out, err } = await runVerify(scene);
  expect(err).toBe("");
  const lines = out.trimEnd().split("\n");
  expect(lines.filter((line) => /^(missing|extra|revised|vanished) \w+ /.test(line))).toEqual([
    expect.stringContaining(`missing ended ${touched.removed}: ledger nothing; tables `),
    expect.stringContaining(`extra connected ${waits}: ledger `),
    expect.stringContaining(`revised connected ${touched.changed}: ledger `),
    expect.stringContaining(`vanished attempted ${nobody}: ledger at 2026-`),
  ]);
  expect(lines).toContain("missing 1, extra 1, revised 1, vanished 1");
  expect(lines.at(-1)).toMatch(/^drift 4 at LSN [0-9A-F]+\/[0-9A-F]+$/);
  expect(code).toBe(1);
});

test("beside a serve under load: drift 0, and exit code 0", async () => {
  await using scene = await openScene({ seed: 12, history: 20, divergent: true });
  await using serve = await startProcess(scene);
  await serve.caughtUp();
  const traffic = scene.simulation.run({ workflows: 40 });
  const { code, out, err } = await runVerify(scene);
  await traffic;
  expect(err).toBe("");
  expect(out).toMatch(/^tables read at LSN .*: \d+ builds, \d+ agents$/m);
  expect(out).toMatch(
    /^compared: attempted \d\d+, ended \d\d+, connected \d\d+, created \d\d+, deleted \d+, started \d\d+, ran \d+, ready \d+, overdue \d+$/m,
  );
  expect(out).toMatch(/^missing 0, extra 0, revised 0, vanished 0\ndrift 0 at LSN .*\n$/m);
  expect(code).toBe(0);
  const status = (await (await serve.get("/api/status")).json()) as { state: string };
  expect(status.state).not.toBe("not following");
});

test("nobody follows: exit code 3, says where the ledger stands and what to do, and leaves nothing", async () => {
  await using scene = await openScene({ seed: 13, history: 5 });
  await followOnce(scene);
  const files = await readdir(dirname(scene.statePath));
  const { code, out, err } = await runVerify(scene);
  expect(out).toBe("");
  expect(err).toMatch(/nobody follows with the store .*firstlight\.db: it stands at [0-9A-F]+\//);
  expect(err).toContain("What to do: start `serve` and run `verify` beside it");
  expect(code).toBe(3);
  expect(await readdir(dirname(scene.statePath))).toEqual(files);

  // As a crash leaves it.
  await using serve = await startProcess(scene);
  await serve.caughtUp();
  await serve.kill();
  const killed = await runVerify(scene);
  expect(killed.err).toContain("nobody follows");
  expect(killed.code).toBe(3);
  await using again = await startProcess(scene);
  await again.caughtUp();
});

test("no store: exit code 3, and none is made", async () => {
  await using scene = await openScene({ seed: 14, history: 0 });
  const { code, err } = await runVerify(scene);
  expect(err).toContain(`there is no store ${scene.statePath}`);
  expect(code).toBe(3);
  expect(await readdir(dirname(scene.statePath))).toEqual([]);
});

test("the follower ends while it is waited for: exit code 3, with both positions", async () => {
  await using scene = await openScene({ seed: 15, history: 10 });
  await using serve = await startProcess(scene);
  await serve.caughtUp();
  const { code, err } = await heldUp(scene, serve, async (verify) => {
    await serve.kill();
    return verify.ended;
  });
  expect(err).toMatch(/nobody follows .* stands at \S+, the tables were read at \S+/);
  expect(code).toBe(3);
});

test("no database: exit code 3, and not reported as a bug", async () => {
  await using scene = await openScene({ seed: 17, history: 5 });
  await using serve = await startProcess(scene);
  await serve.caughtUp();
  const { code, err } = await runVerify({ ...scene, url: "postgres://nobody@127.0.0.1:1/coder" });
  expect(err).toContain("not verified: connect ECONNREFUSED");
  expect(err).toContain("What to do: verify again once the database can be reached");
  expect(code).toBe(3);
});

test.each(["SIGINT", "SIGTERM", "SIGKILL"] as const)(
  "%s while it waits leaves no slot and no file, and is no answer",
  async (signal) => {
    await using scene = await openScene({ seed: 16, history: 10 });
    await using serve = await startProcess(scene);
    await serve.caughtUp();
    const files = await readdir(dirname(scene.statePath));
    const { code, out, err } = await heldUp(scene, serve, async (verify) => {
      verify.kill(signal);
      return verify.ended;
    });
    expect(out).toBe("");
    expect(code).toBe(signal === "SIGKILL" ? signal : 3);
    expect(err).toBe(signal === "SIGKILL" ? "" : "firstlight: stopped, no answer\n");
    await until(
      "its slot is gone",
      async () => (await temporarySlots(scene.client, scene.slot)) === 0,
    );
    expect(await readdir(temporaryFiles(scene))).toEqual([]);
    expect(await readdir(dirname(scene.statePath))).toEqual([...files, "tmp"]);
  },
);

const temporaryFiles = (scene: Scene): string => join(dirname(scene.statePath), "tmp");

/** Starts one that has read the tables and waits: its follower was stopped in its tracks, until it is killed. */
async function heldUp<T>(
  scene: Scene,
  serve: Process,
  work: (verify: Running) => Promise<T>,
): Promise<T> {
  await mkdir(temporaryFiles(scene));
  process.kill(serve.pid, "SIGSTOP");
  const verify = startVerify(scene, { env: { TMPDIR: temporaryFiles(scene) } });
  await until("it has read the tables", async () => {
    const { rows } = await scene.client.query(
      `select from pg_stat_activity
       where datname = current_database() and state = 'idle in transaction' and query like '%from offered%'`,
    );
    return rows.length > 0;
  });
  return work(verify);
}

test("wrong flags: exit code 2", async () => {
  const target = { url: "postgres://nobody@127.0.0.1:1/x", slot: "x", statePath: "/nowhere/x.db" };
  const unknown = await runVerify(target, { args: ["--quick"] });
  expect(unknown).toMatchObject({ code: 2, out: "" });
  expect(unknown.err).toContain("unknown option '--quick'");
  const wrong = await runVerify(target, { args: ["--slot", "No-Slot", "--verify-every", "often"] });
  expect(wrong).toMatchObject({ code: 2, out: "" });
  expect(wrong.err).toContain('--slot "No-Slot": must be 1 to 63');
  expect(wrong.err).toContain(
    '--verify-every "often": must be off, or from 1s to 24d, e.g. 90s, 30m or 24h',
  );
});
