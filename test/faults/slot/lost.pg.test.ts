// The slot is gone: dropped by hand, or invalidated by the server for the WAL it held back or for being idle. Each is named,
// counted as a gap, and healed from the tables, while the template of the old builds has been renamed: what was shown keeps
// its name and its value, and grows by what really happened.

import type pg from "pg";
import { expect, test } from "vitest";
import { ownServer } from "../../crash/support/own-server.ts";
import { createSlot } from "../../crash/support/slots.ts";
import { holdWriteLock } from "../../crash/support/write-lock.ts";
import { expectSumsEqualRecount } from "../../support/exact.ts";
import { until } from "../../support/firstlight.ts";
import { JOBS, at } from "../../support/hand-made.ts";
import { type Scrape, byLabels, regressions, valueOf } from "../../support/scrape.ts";
import { expectAccounted } from "../support/accounted.ts";
import { RECOVERS_WITHIN_MS, type Scene, gaps, said, scene } from "../support/scene.ts";

/** So that a slot that is lost is what is found, not one that lags. */
const PATIENT = { FIRSTLIGHT_MAX_SLOT_LAG: "100GB" };

interface Loss {
  readonly name: string;
  readonly reason: string;
  /** What the log line says of it. */
  readonly detail: string;
  /** Loses the slot, in a session of its own; with `on.firstlight` at work where `serving`. */
  readonly lose: (on: Scene, admin: pg.Client) => Promise<void>;
  readonly serving: boolean;
}

async function drop({ slot }: Scene, admin: pg.Client): Promise<void> {
  await until("the slot is dropped", async () => {
    await admin.query(
      "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1",
      [slot],
    );
    return admin.query("select pg_drop_replication_slot($1)", [slot]).then(
      () => true,
      (error: pg.DatabaseError) => {
        if (error.code === "55006") return false; // its walsender is still leaving
        throw error;
      },
    );
  });
}

async function setting(admin: pg.Client, name: string, value: string): Promise<void> {
  await admin.query(`alter system set ${name} = '${value}'`);
  await admin.query("select pg_reload_conf()");
}

/** Whether the server has given the slot up. */
async function isLost({ slot }: Scene, admin: pg.Client): Promise<boolean> {
  const { rows } = await admin.query<{ wal_status: string }>(
    "select wal_status from pg_replication_slots where slot_name = $1",
    [slot],
  );
  return rows[0]?.wal_status === "lost";
}

/** Fills segments until the server has taken the slot's away. */
async function outrun(on: Scene, admin: pg.Client): Promise<void> {
  await setting(admin, "max_slot_wal_keep_size", "1MB");
  await until("the slot's WAL is removed", async () => {
    await admin.query("select pg_logical_emit_message(false, 'filler', repeat('x', 1000000))");
    await admin.query("select pg_switch_wal()");
    await admin.query("checkpoint");
    return isLost(on, admin);
  });
  await setting(admin, "max_slot_wal_keep_size", "-1");
}

/** A checkpoint looks which slots have been idle for too long. */
async function idle(on: Scene, admin: pg.Client): Promise<void> {
  await setting(admin, "idle_replication_slot_timeout", "1s");
  await until("the slot has been idle for too long", async () => {
    await admin.query("checkpoint");
    return isLost(on, admin);
  });
  await setting(admin, "idle_replication_slot_timeout", "0");
}

const BY_HAND: readonly Loss[] = [
  {
    name: "dropped by hand while nobody follows",
    reason: "slot_missing",
    detail: "there is no slot",
    lose: drop,
    serving: false,
  },
  {
    name: "dropped by hand while it is followed",
    reason: "slot_missing",
    detail: "there is no slot",
    lose: drop,
    serving: true,
  },
  {
    name: "dropped and created again",
    reason: "slot_ahead",
    detail: "the slot is at",
    async lose(on, admin) {
      await drop(on, admin);
      await createSlot(admin, on.slot);
    },
    serving: false,
  },
];

const BY_THE_SERVER: readonly Loss[] = [
  {
    name: "lost by the WAL limit while nobody follows",
    reason: "slot_lost",
    detail: "wal_removed",
    lose: outrun,
    serving: false,
  },
  {
    name: "lost by the WAL limit while the store refuses to be written",
    reason: "slot_lost",
    detail: "wal_removed",
    async lose(on, admin) {
      using _lock = holdWriteLock(on.statePath);
      await outrun(on, admin);
    },
    serving: true,
  },
  {
    name: "lost by the idle timeout",
    reason: "slot_lost",
    detail: "idle_timeout",
    lose: idle,
    serving: false,
  },
];

/** What is shown of template and status, e.g. `{ "docker success": 2 }`; zeros left out. */
function outcomes(page: Scrape): Record<string, number> {
  return Object.fromEntries(
    [...byLabels(page, "coderd_workspace_creation_outcomes_total")].flatMap(([labels, value]) => {
      const [, template, , status] = JSON.parse(labels) as string[];
      return value === 0 ? [] : [[`${template} ${status}`, value]];
    }),
  );
}

/** Connections by template; zeros left out. */
function connections(page: Scrape): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [labels, value] of byLabels(page, "coderd_agents_first_connection_seconds_count")) {
    const [template = ""] = JSON.parse(labels) as string[];
    if (value > 0) found[template] = (found[template] ?? 0) + value;
  }
  return found;
}

async function loseAndHeal(on: Scene, { reason, detail, lose, serving }: Loss): Promise<void> {
  const { client, made } = on;
  const admin = await on.place.client();
  const built = await made.build({ job: JOBS.succeeded });
  await made.agent(built.job, { connected: 42 });
  const waiting = await made.agent(built.job, { name: "second" });
  await on.inOne(() => made.build({ job: JOBS.failed, preset: made.large }));
  const running = await made.build({ job: JOBS.running });
  const before = await on.follow(PATIENT);
  expect(outcomes(before)).toEqual({ "docker success": 1, "docker failure": 1 });
  if (!serving) await on.leave();

  await client.query("begin");
  await client.query("update templates set name = 'podman'");
  await client.query("update provisioner_jobs set completed_at = $2 where id = $1", [
    running.job,
    at(60),
  ]);
  await client.query("update workspace_agents set first_connected_at = $2 where id = $1", [
    waiting,
    at(75),
  ]);
  const { job } = await made.build({ job: JOBS.succeeded });
  await made.agent(job, { connected: 50 });
  if (serving) await lose(on, admin); // with these still open: whoever serves can not have them yet
  await client.query("commit");
  if (!serving) await lose(on, admin);

  if (!serving) await on.follow();
  await until(
    `the gap is counted as ${reason}`,
    async () => gaps(await on.firstlight.scrape())[reason] === 1,
    RECOVERS_WITHIN_MS,
  );
  const after = await on.shown();
  expect(gaps(after)).toEqual({ [reason]: 1 });
  expect(said(on.firstlight.log, "gap: WAL may have passed uncounted")).toMatchObject([
    { reason, level: "warn", detail: expect.stringContaining(detail) },
  ]);
  expect(outcomes(after)).toEqual({
    "docker success": 2,
    "docker failure": 1,
    "podman success": 1,
  });
  expect(connections(after)).toEqual({ docker: 2, podman: 1 });
  expect(regressions(before, after)).toEqual([]);
  expect(valueOf(after, "firstlight_slot_active")).toBe(1);
  await expectSumsEqualRecount(client, after);

  await on.inOne(() => made.build({ job: JOBS.canceledWhilePending }));
  expect(outcomes(await on.shown())).toMatchObject({ "podman canceled": 1 });
  await on.leave();
  await expectAccounted(client, on.statePath);
}

const named = (losses: readonly Loss[]): (readonly [string, Loss])[] =>
  losses.map((loss) => [loss.name, loss]);

test.each(named(BY_HAND))("the slot is %s", async (_name, loss) => {
  await scene({}, (on) => loseAndHeal(on, loss));
});

test.each(named(BY_THE_SERVER))("the slot is %s", { timeout: 120_000 }, async (_name, loss) => {
  await using server = await ownServer();
  await scene({ place: { ...server, published: true } }, (on) => loseAndHeal(on, loss));
});
