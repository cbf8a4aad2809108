// The oracle's own test, agents: hand-made rows whose durations can be added up by hand. Cases of Coder's TestAgents and
// TestAgentConnectionMonitor_FirstConnectionMetric, bucket bounds, and who is counted at all.

import { expect, test } from "vitest";
import { SECOND } from "../src/change/micros.ts";
import { PREBUILDS_USER } from "../src/change/row.ts";
import { JOBS, START, at, withRows } from "./support/hand-made.ts";
import { BUCKETS, labelKey, recount, recountById } from "./support/recount.ts";

/** Done when it was begun: its agents wait from `START` on. */
const AT_ONCE = { ...JOBS.succeeded, started_at: at(0), completed_at: at(0) };

test("an agent that connected after 45 s is one sample, by the names of its workspace and owner", () =>
  withRows(async (made, client) => {
    const { job, workspace } = await made.build({ job: JOBS.succeeded });
    const agent = await made.agent(job, { created: 30, connected: 75 });
    await made.agent(job, { name: "never-connected", created: 30 });
    const counted = await recount(client);
    expect([...counted.firstConnection]).toEqual([
      [
        labelKey("docker", "main", "alice", "dev-1"),
        { count: 1, sum: 45 * SECOND, buckets: [0, 0, 0, 1, 1, 1, 1, 1, 1] },
      ],
    ]);
    const byId = await recountById(client);
    expect([...byId.connections]).toEqual([
      [agent, { firstConnectedAt: START + 75 * SECOND, took: 45 * SECOND, workspace }],
    ]);
  }));

test("a bucket holds its bound, and one microsecond more falls into the next", () =>
  withRows(async (made, client) => {
    const { job } = await made.build({ job: AT_ONCE });
    const durations = [0, ...BUCKETS.flatMap((bound) => [bound, bound + 1e-6])];
    for (const connected of durations) await made.agent(job, { connected, deleted: true });
    const { firstConnection, droppedNegative } = await recount(client);
    expect(droppedNegative, "0 s is not negative").toBe(0);
    const [histogram] = firstConnection.values();
    expect(histogram?.buckets).toEqual(BUCKETS.map((_, index) => 2 + 2 * index));
    expect(histogram?.count).toBe(durations.length);
    const seconds = BUCKETS.reduce((sum, bound) => sum + bound, 0);
    expect(histogram?.sum).toBe(2 * seconds * SECOND + BUCKETS.length);
  }));

test("an agent that connected before it was created is a dropped sample", () =>
  withRows(async (made, client) => {
    const { job, workspace } = await made.build({ job: JOBS.succeeded });
    const skewed = await made.agent(job, { created: 60, connected: 0 });
    const counted = await recount(client);
    expect(counted.firstConnection.size).toBe(0);
    expect(counted.droppedNegative).toBe(1);
    const byId = await recountById(client);
    expect([...byId.negative]).toEqual([
      [skewed, { firstConnectedAt: START, took: -60 * SECOND, workspace }],
    ]);
    expect(byId.connections.size).toBe(0);
  }));

test("sub-agents and agents of any workspace build count, those of imports and dry runs do not", () =>
  withRows(async (made, client) => {
    const { workspace, job } = await made.build({ job: AT_ONCE });
    const parent = await made.agent(job, { connected: 2 });
    await made.agent(job, { name: "devcontainer", connected: 3, parent });
    const stop = await made.build({
      job: JOBS.succeeded,
      workspace,
      number: 2,
      transition: "stop",
    });
    await made.agent(stop.job, { connected: 4 });
    for (const type of ["template_version_import", "template_version_dry_run"]) {
      const other = await made.job(type, JOBS.succeeded);
      await made.agent(other, { connected: 5 });
      await made.agent(other, { name: "skewed", created: 60, connected: 5 });
    }
    const { firstConnection, droppedNegative } = await recount(client);
    expect([...firstConnection].map(([key, { count, sum }]) => [key, count, sum])).toEqual([
      [labelKey("docker", "devcontainer", "alice", "dev-1"), 1, 3 * SECOND],
      [labelKey("docker", "main", "alice", "dev-1"), 2, 6 * SECOND],
    ]);
    expect(droppedNegative).toBe(0);
    expect((await recountById(client)).connections.size).toBe(3);
  }));

test("a claim moves the prebuild's connection to the new owner, and brings a second one", () =>
  withRows(async (made, client) => {
    const workspace = await made.workspace({ owner: PREBUILDS_USER });
    const first = await made.build({ job: JOBS.succeeded, workspace, initiator: PREBUILDS_USER });
    await made.agent(first.job, { connected: 20 });
    const before = await recount(client);
    expect([...before.firstConnection.keys()]).toEqual([
      labelKey("docker", "main", "prebuilds", "dev-1"),
    ]);
    await client.query("update workspaces set owner_id = $1, name = 'mine' where id = $2", [
      made.alice,
      workspace,
    ]);
    const claim = await made.build({ job: JOBS.succeeded, workspace, number: 2 });
    await made.agent(claim.job, { connected: 4 });
    const after = await recount(client);
    expect([...after.firstConnection].map(([key, { count }]) => [key, count])).toEqual([
      [labelKey("docker", "main", "alice", "mine"), 2],
    ]);
    expect(after.attempts.size).toBe(0);
  }));

test("overdue: later than its time or never, also deleted and sub-agents; not in time, without a limit, or not up yet", () =>
  withRows(async (made, client) => {
    const { job, workspace } = await made.build({ job: AT_ONCE });
    const parent = await made.agent(job, { timeout: 60, connected: 60 });
    const late = await made.agent(job, { name: "late", timeout: 60, connected: 60 + 1e-6 });
    const never = await made.agent(job, { name: "never", timeout: 30, deleted: true });
    const sub = await made.agent(job, { name: "devcontainer", timeout: 60, parent });
    await made.agent(job, { name: "any-time" });
    await made.agent(job, { name: "any-time-late", connected: 9_999 });
    await made.agent(job, { name: "not-yet", timeout: 1_000 });
    const stop = await made.build({ job: AT_ONCE, workspace, number: 2, transition: "stop" });
    await made.agent(stop.job, { name: "of-a-stop", timeout: 30 });
    await made.agent(await made.job("template_version_import", JOBS.succeeded), { timeout: 30 });
    await client.query("select set_config('firstlight.moment', $1, false)", [at(1_000)]);
    expect(Object.fromEntries((await recount(client)).overdue)).toEqual({
      [labelKey("acme", "docker", "devcontainer")]: 1,
      [labelKey("acme", "docker", "late")]: 1,
      [labelKey("acme", "docker", "never")]: 1,
    });
    const [minute, half] = [60 * SECOND, 30 * SECOND];
    expect(Object.fromEntries((await recountById(client)).overdue)).toEqual({
      [late]: { at: START + minute, took: minute, connected: true },
      [never]: { at: START + half, took: half, connected: false },
      [sub]: { at: START + minute, took: minute, connected: false },
    });
    // The microsecond after it is up.
    for (const [moment, found] of [
      [1_000, 3],
      [1_000 + 1e-6, 4],
    ] as const) {
      await client.query("select set_config('firstlight.moment', $1, false)", [at(moment)]);
      expect((await recountById(client)).overdue.size).toBe(found);
    }
    // Without a moment, the server's: long after that, or before, but a setting that was never set is no error.
    await client.query("reset firstlight.moment");
    expect((await recountById(client)).overdue.size).toBeGreaterThan(0);
  }));
