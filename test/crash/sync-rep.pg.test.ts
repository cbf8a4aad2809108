// While synchronous replication is stuck, the server streams commits that no query can see. A look-up then finds no row, and
// a label would be lost for ever; so Firstlight waits, shows nothing of it, and acknowledges nothing of it.

import { expect, test } from "vitest";
import type pg from "pg";
import { type Lsn, parseLsn } from "../../src/lsn.ts";
import {
  expectLabelsEqualRecount,
  expectLedgerEqualsTables,
  expectSumsEqualRecount,
} from "../support/exact.ts";
import { type Firstlight, startProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import { type Scrape, byLabels, sumOf, valueOf } from "../support/scrape.ts";
import { temporaryFolder } from "./support/folder.ts";
import { ownServer } from "./support/own-server.ts";
import { confirmedFlush } from "./support/slots.ts";

const ATTEMPTS = "coderd_workspace_creation_attempts_total";
const STOPS_WITHIN_MS = 5_000;

test("with synchronous replication held up no label is lost", async () => {
  await using server = await ownServer();
  await using folder = await temporaryFolder();
  const [writer, admin] = [await server.client(), await server.client()];
  const made = await HandMade.on(writer);
  await made.build({ job: JOBS.succeeded, preset: made.large });
  const target = { url: server.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  {
    await using firstlight = await startProcess(target);
    const before = await firstlight.caughtUp();
    await holdUp(admin, writer);
    const held = await commitHeldUp(made, writer, admin);

    await until(
      "it waits for the commit to be visible",
      async () => (await heldLookups(firstlight)) > 3,
    );
    const whileHeld = await firstlight.scrape();
    expect(sumOf(whileHeld, ATTEMPTS)).toBe(sumOf(before, ATTEMPTS));
    expect(whileHeld.text).not.toContain("held-up");
    expect(valueOf(whileHeld, "firstlight_stream_connected")).toBe(1);
    expect((await firstlight.get("/readyz")).status).toBe(200);
    const { rows } = await admin.query("select from workspace_builds where build_number = 1");
    expect(rows).toHaveLength(1);
    const asked = await heldLookups(firstlight);
    await until("it asks again", async () => (await heldLookups(firstlight)) > asked);
    expect(await confirmedFlush(admin, target.slot)).toBeLessThanOrEqual(held.commitsAfter);

    await release(admin);
    await held.committed;
    const after = await firstlight.caughtUp();
    expectFullLabels(after);
    await expectLabelsEqualRecount(admin, after);
    await expectSumsEqualRecount(admin, after);
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedgerEqualsTables(admin, target.statePath);
});

test("with synchronous replication held up it stops within 5 s, and goes on from there", async () => {
  await using server = await ownServer();
  await using folder = await temporaryFolder();
  const [writer, admin] = [await server.client(), await server.client()];
  const made = await HandMade.on(writer);
  const target = { url: server.url, slot: uniqueSlot(), statePath: folder.path("firstlight.db") };
  let held: { readonly committed: Promise<unknown> };
  {
    await using firstlight = await startProcess(target);
    await firstlight.caughtUp();
    await holdUp(admin, writer);
    held = await commitHeldUp(made, writer, admin);
    await until("it waits", async () => (await heldLookups(firstlight)) > 0);
    const began = performance.now();
    expect(await firstlight.terminate()).toBe(0);
    expect(performance.now() - began).toBeLessThan(STOPS_WITHIN_MS);
  }
  {
    // What it had received and not counted comes again, and is waited for again.
    await using firstlight = await startProcess(target);
    await until("it waits again", async () => (await heldLookups(firstlight)) > 0);
    expect(sumOf(await firstlight.scrape(), ATTEMPTS)).toBe(0);
    await release(admin);
    await held.committed;
    const after = await firstlight.caughtUp();
    expectFullLabels(after);
    await expectLabelsEqualRecount(admin, after);
    expect(await firstlight.terminate()).toBe(0);
  }
  await expectLedgerEqualsTables(admin, target.statePath);
});

/** From here on commits that wait for a standby wait for ever: nobody is there. */
async function holdUp(admin: pg.Client, writer: pg.Client): Promise<void> {
  await admin.query("alter system set synchronous_standby_names = 'nobody'");
  await admin.query("select pg_reload_conf()");
  await writer.query("set synchronous_commit = on");
  await until("the writer knows", async () => {
    const { rows } = await writer.query<{ names: string }>(
      "select current_setting('synchronous_standby_names') as names",
    );
    return rows[0]?.names === "nobody";
  });
}

async function release(admin: pg.Client): Promise<void> {
  await admin.query("alter system reset synchronous_standby_names");
  await admin.query("select pg_reload_conf()");
}

/**
 * One transaction with a new template and three workspaces of it, one agent each; its COMMIT is sent, and hangs. The
 * commit record starts at `commitsAfter` or later.
 */
async function commitHeldUp(
  made: HandMade,
  writer: pg.Client,
  admin: pg.Client,
): Promise<{ readonly commitsAfter: Lsn; readonly committed: Promise<unknown> }> {
  const [template, version] = [crypto.randomUUID(), crypto.randomUUID()];
  await writer.query("begin");
  await made.newTemplate("held-up", { id: template, version });
  for (const name of ["one", "two", "three"]) {
    const workspace = await made.workspace({ template });
    const { job } = await made.build({ workspace, job: JOBS.succeeded, preset: made.large });
    await made.agent(job, { name, connected: 42 });
  }
  const { rows } = await writer.query<{ lsn: string }>(
    "select pg_current_wal_insert_lsn()::text as lsn",
  );
  const committed = writer.query("commit");
  await until("the writer waits for a standby", async () => {
    const waiting = await admin.query("select from pg_stat_activity where wait_event = 'SyncRep'");
    return waiting.rows.length > 0;
  });
  return { commitsAfter: parseLsn(rows[0]?.lsn ?? ""), committed };
}

function expectFullLabels(scrape: Scrape): void {
  expect(valueOf(scrape, 'firstlight_lookups_total{result="missing"}')).toBe(0);
  expect(byLabels(scrape, ATTEMPTS).get(JSON.stringify(["acme", "held-up", "large"]))).toBe(3);
  const agents = [...byLabels(scrape, "coderd_agents_first_connection_seconds_count").keys()]
    .map((key) => JSON.parse(key) as string[])
    .filter(([template]) => template === "held-up");
  expect(agents.map(([, agent, user]) => `${agent} of ${user}`).sort()).toEqual([
    "one of alice",
    "three of alice",
    "two of alice",
  ]);
  expect(agents.every(([, , , workspace]) => /^dev-\d$/.test(workspace ?? ""))).toBe(true);
}

async function heldLookups(firstlight: Firstlight): Promise<number> {
  return valueOf(await firstlight.scrape(), 'firstlight_lookups_total{result="held"}');
}
