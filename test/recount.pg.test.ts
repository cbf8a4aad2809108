// The oracle's own test, builds: hand-made rows with totals that can be counted on fingers. Cases of Coder's
// TestWorkspaceCreationTotal, every way a job ends, and what today's tables say after the past was rewritten.

import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { SECOND } from "../src/change/micros.ts";
import { PREBUILDS_USER } from "../src/change/row.ts";
import { JOBS, type JobColumns, START, at, withRows } from "./support/hand-made.ts";
import { labelKey, recount, recountById } from "./support/recount.ts";

const DOCKER = labelKey("acme", "docker", "");

/** Everything of one map as an object, for comparisons that fail readably. */
function shown<T>(map: ReadonlyMap<string, T>): Record<string, T> {
  return Object.fromEntries(map);
}

test("an empty database has nothing to count", () =>
  withRows(async (_made, client) => {
    const { droppedNegative, ...families } = await recount(client);
    expect(droppedNegative).toBe(0);
    for (const family of Object.values(families)) expect(family.size).toBe(0);
    for (const family of Object.values(await recountById(client))) expect(family.size).toBe(0);
  }));

test("seven first builds: one canceled, two failed, three built, one running", () =>
  withRows(async (made, client) => {
    await made.build({ job: JOBS.canceledWhilePending });
    for (let i = 0; i < 2; i++) await made.build({ job: JOBS.failed });
    for (let i = 0; i < 3; i++) await made.build({ job: JOBS.succeeded });
    await made.build({ job: JOBS.running });
    const counted = await recount(client);
    expect(shown(counted.attempts)).toEqual({ [DOCKER]: 7 });
    expect(shown(counted.outcomes)).toEqual({
      [labelKey("acme", "docker", "", "canceled")]: 1,
      [labelKey("acme", "docker", "", "failure")]: 2,
      [labelKey("acme", "docker", "", "success")]: 3,
    });
    expect(shown(counted.inFlight)).toEqual({ [DOCKER]: 1 });
  }));

test("builds of the prebuilds user, later builds, and builds that do not start are no first builds", () =>
  withRows(async (made, client) => {
    const { workspace } = await made.build({ job: JOBS.succeeded, preset: made.large });
    await made.build({ job: JOBS.succeeded, workspace, number: 2 });
    for (const job of [JOBS.succeeded, JOBS.failed, JOBS.canceledWhilePending, JOBS.running]) {
      await made.build({ job, number: 2 });
      await made.build({ job, initiator: PREBUILDS_USER });
      await made.build({ job, transition: "stop" });
      await made.build({ job, transition: "delete" });
    }
    const counted = await recount(client);
    expect(shown(counted.attempts)).toEqual({ [labelKey("acme", "docker", "large")]: 1 });
    expect(shown(counted.outcomes)).toEqual({
      [labelKey("acme", "docker", "large", "success")]: 1,
    });
    for (const none of [counted.failures, counted.inFlight, counted.oldestInFlight])
      expect(none.size).toBe(0);
    const { attempts, outcomes } = await recountById(client);
    expect([attempts.size, outcomes.size]).toEqual([18, 14]);
  }));

test("deleted workspaces and templates still count", () =>
  withRows(async (made, client) => {
    const { workspace } = await made.build({
      job: JOBS.succeeded,
      workspace: await made.workspace({ deleted: true }),
    });
    await made.build({ job: JOBS.succeeded, workspace, number: 2, transition: "delete" });
    await made.build({ job: JOBS.succeeded });
    await client.query("update templates set deleted = true");
    expect(shown((await recount(client)).outcomes)).toEqual({
      [labelKey("acme", "docker", "", "success")]: 2,
    });
  }));

const code = "REQUIRED_TEMPLATE_VARIABLES";
const reaped = { completed_at: at(1800), error: "reaped" };
const ENDS: readonly (readonly [
  string,
  JobColumns,
  readonly [string, string | null, string | null],
])[] = [
  ["built", JOBS.succeeded, ["success", null, null]],
  [
    "built, with an empty error",
    { ...JOBS.succeeded, error: "", error_code: "" },
    ["success", null, null],
  ],
  ["failed", JOBS.failed, ["failure", "provisioner", "other"]],
  [
    "failed, with an empty code",
    { ...JOBS.failed, error_code: "" },
    ["failure", "provisioner", "other"],
  ],
  [
    "failed with Coder's code",
    { ...JOBS.failed, error_code: code },
    ["failure", "provisioner", code],
  ],
  [
    "canceled while running",
    { ...JOBS.failed, canceled_at: at(20) },
    ["failure", "provisioner", "user_canceled"],
  ],
  [
    "canceled, with a code",
    { ...JOBS.failed, canceled_at: at(20), error_code: code },
    ["failure", "provisioner", code],
  ],
  ["reaped while running", { ...JOBS.running, ...reaped }, ["failure", "provisioner", "other"]],
  ["reaped while pending", { ...reaped, started_at: at(1800) }, ["failure", "queue", "other"]],
  ["canceled while pending", JOBS.canceledWhilePending, ["canceled", null, null]],
  ["canceled but built", { ...JOBS.succeeded, canceled_at: at(20) }, ["canceled", null, null]],
];

test.each(ENDS)("a first build that was %s", (_, job, [status, stage, errorCode]) =>
  withRows(async (made, client) => {
    const ids = await made.build({ job });
    const counted = await recount(client);
    expect(shown(counted.outcomes)).toEqual({ [labelKey("acme", "docker", "", status)]: 1 });
    expect(shown(counted.failures)).toEqual(
      stage === null || errorCode === null
        ? {}
        : { [labelKey("acme", "docker", "", stage, errorCode)]: 1 },
    );
    expect(counted.inFlight.size + counted.oldestInFlight.size).toBe(0);
    const outcome = (await recountById(client)).outcomes.get(ids.job);
    expect(outcome).toMatchObject({ build: ids.build, status, stage, errorCode });
    const own = await client.query<{ job_status: string }>(
      "select job_status from provisioner_jobs",
    );
    const names: Record<string, string> = {
      succeeded: "success",
      failed: "failure",
      canceled: "canceled",
    };
    expect(names[own.rows[0]?.job_status ?? ""], "as Coder itself reads the row").toBe(status);
  }),
);

test("pending, running and canceling builds are in flight, since the creation of the oldest", () =>
  withRows(async (made, client) => {
    await made.build({ job: JOBS.canceling, created: 7 });
    await made.build({ job: JOBS.pending, created: 3 });
    await made.build({ job: JOBS.running, created: 5, preset: made.large });
    await made.build({ job: JOBS.succeeded, created: 1 });
    // No statement of Coder's leaves an error without an end. If one did: not ended is in flight.
    await made.build({ job: { ...JOBS.running, error: "not yet" }, created: 9 });
    const counted = await recount(client);
    const large = labelKey("acme", "docker", "large");
    expect(shown(counted.inFlight)).toEqual({ [DOCKER]: 3, [large]: 1 });
    expect(counted.failures.size).toBe(0);
    expect(shown(counted.oldestInFlight)).toEqual({
      [DOCKER]: START + 3 * SECOND,
      [large]: START + 5 * SECOND,
    });
    expect(shown(counted.attempts)).toEqual({ [DOCKER]: 4, [large]: 1 });
  }));

test("a rename moves the past, and a template of the same name adds to it", () =>
  withRows(async (made, client) => {
    await made.build({ job: JOBS.succeeded, preset: made.large });
    await client.query("update templates set deleted = true");
    const template = randomUUID();
    await made.newTemplate("docker", { id: template, version: randomUUID() });
    await made.build({
      job: JOBS.succeeded,
      workspace: await made.workspace({ template }),
      preset: made.large,
    });
    expect(shown((await recount(client)).attempts)).toEqual({
      [labelKey("acme", "docker", "large")]: 2,
    });
    await client.query("update templates set name = 'podman' where id = $1", [template]);
    await client.query("update organizations set name = 'globex'");
    expect(shown((await recount(client)).attempts)).toEqual({
      [labelKey("globex", "docker", "large")]: 1,
      [labelKey("globex", "podman", "large")]: 1,
    });
    await client.query("delete from template_version_presets");
    expect([...(await recount(client)).attempts.keys()]).toEqual([
      labelKey("globex", "docker", ""),
      labelKey("globex", "podman", ""),
    ]);
  }));

test("a job that completes again is counted once, by its last end", () =>
  withRows(async (made, client) => {
    const { job, build } = await made.build({ job: { ...JOBS.running, ...reaped } });
    expect([...(await recount(client)).outcomes.keys()]).toEqual([
      labelKey("acme", "docker", "", "failure"),
    ]);
    await client.query("update provisioner_jobs set completed_at = $1, error = null", [at(2000)]);
    expect(shown((await recount(client)).outcomes)).toEqual({
      [labelKey("acme", "docker", "", "success")]: 1,
    });
    expect((await recountById(client)).outcomes.get(job)).toEqual({
      build,
      status: "success",
      stage: null,
      errorCode: null,
      completedAt: START + 2000 * SECOND,
      took: 1995 * SECOND,
    });
  }));

test("rows deleted by hand are gone from every count", () =>
  withRows(async (made, client) => {
    const { workspace, job } = await made.build({ job: JOBS.succeeded });
    await made.agent(job, { connected: 2 });
    await client.query("delete from workspaces where id = $1", [workspace]);
    const counted = await recount(client);
    expect(counted.attempts.size + counted.outcomes.size).toBe(0);
    // The cascade ends at the build: its job and agents are orphans without names.
    expect([...counted.firstConnection.keys()]).toEqual([labelKey("", "main", "", "")]);
    await client.query("delete from provisioner_jobs where id = $1", [job]);
    expect((await recount(client)).firstConnection.size).toBe(0);
  }));

test("the session's date style and time zone do not matter", () =>
  withRows(async (made, client) => {
    const { job } = await made.build({ job: JOBS.succeeded });
    await made.agent(job, { created: 1, connected: 91_000 });
    await made.build({ job: JOBS.pending });
    const read = async () => [await recount(client), await recountById(client)];
    const usual = await read();
    await client.query(
      "set datestyle = 'German'; set timezone = 'America/St_Johns'; set intervalstyle = 'iso_8601'",
    );
    expect(await read()).toEqual(usual);
  }));
