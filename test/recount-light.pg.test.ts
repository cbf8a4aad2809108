// The oracle's own test, time to first light: hand-made rows whose phases can be added up by hand.

import { expect, test } from "vitest";
import { SECOND } from "../src/change/micros.ts";
import { PREBUILDS_USER } from "../src/change/row.ts";
import { type HandMade, JOBS, type JobColumns, at, withRows } from "./support/hand-made.ts";
import { LIGHT_BUCKETS, labelKey, recount, recountById } from "./support/recount.ts";

const PHASES = ["queue", "provision", "connect", "total"];

const key = (type: string, phase: string): string => labelKey("acme", "docker", type, phase);

/** How many samples each type has, of each phase. */
const samples = (counted: ReadonlyMap<string, { readonly count: number }>) =>
  Object.fromEntries([...counted].map(([labels, { count }]) => [labels, count]));

const all = (counts: Readonly<Record<string, number>>) =>
  Object.fromEntries(
    Object.entries(counts).flatMap(([type, count]) =>
      PHASES.map((phase) => [key(type, phase), count]),
    ),
  );

test("a start whose agent connected is a sample of each phase", () =>
  withRows(async (made, client) => {
    // Begun at 0, taken at 5, completed at 30.
    const { job } = await made.build({ job: JOBS.succeeded });
    const agent = await made.agent(job, { created: 30, connected: 75 });
    await made.agent(job, { name: "never-connected", created: 30 });
    const phases = { queue: 5, provision: 25, connect: 45, total: 75 };
    const { firstLight } = await recount(client);
    expect(Object.fromEntries(firstLight)).toEqual(
      Object.fromEntries(
        Object.entries(phases).map(([phase, seconds]) => {
          const buckets = LIGHT_BUCKETS.map((bound) => (seconds <= bound ? 1 : 0));
          return [key("regular", phase), { count: 1, sum: seconds * SECOND, buckets }];
        }),
      ),
    );
    const { lights } = await recountById(client);
    expect([...lights]).toEqual([
      [
        agent,
        {
          type: "regular",
          queue: 5 * SECOND,
          provision: 25 * SECOND,
          connect: 45 * SECOND,
          total: 75 * SECOND,
        },
      ],
    ]);
  }));

test("a bucket holds its bound, and one microsecond more falls into the next", () =>
  withRows(async (made, client) => {
    const { job } = await made.build({ job: JOBS.succeeded });
    const waits = LIGHT_BUCKETS.flatMap((bound) => [bound, bound + 1e-6]);
    for (const wait of waits)
      await made.agent(job, { created: 30, connected: 30 + wait, deleted: true });
    const connect = (await recount(client)).firstLight.get(key("regular", "connect"));
    expect(connect?.buckets).toEqual(LIGHT_BUCKETS.map((_, index) => 1 + 2 * index));
  }));

test("by type: the pool's, claims of it, and all other starts; two agents are two samples", () =>
  withRows(async (made, client) => {
    const workspace = await made.workspace({ owner: PREBUILDS_USER });
    const first = await made.build({ workspace, initiator: PREBUILDS_USER, job: JOBS.succeeded });
    const claim = await made.build({ workspace, number: 2, stage: 2, job: JOBS.succeeded });
    const restart = await made.build({ workspace, number: 3, job: JOBS.succeeded });
    const other = await made.build({ job: JOBS.succeeded });
    for (const { job } of [first, claim, restart, other])
      await made.agent(job, { created: 30, connected: 40 });
    await made.agent(other.job, { name: "sidecar", created: 30, connected: 50 });
    expect(samples((await recount(client)).firstLight)).toEqual(
      all({ claim: 1, prebuild: 1, regular: 3 }),
    );
  }));

test("none: sub-agents, stops, and builds that no provisioner had", () =>
  withRows(async (made, client) => {
    const connected = { created: 30, connected: 40 };
    const { job, workspace } = await made.build({ job: JOBS.succeeded });
    const parent = await made.agent(job, { created: 30 });
    await made.agent(job, { ...connected, name: "devcontainer", parent });
    const stop = { workspace, number: 2, transition: "stop", job: JOBS.succeeded } as const;
    await made.agent((await made.build(stop)).job, connected);
    const { worker_id: _none, ...unowned } = JOBS.succeeded;
    await made.agent((await made.build({ job: unowned })).job, connected);
    for (const type of ["template_version_import", "template_version_dry_run"])
      await made.agent(await made.job(type, JOBS.succeeded), connected);
    const { firstLight, droppedNegative } = await recount(client);
    expect([firstLight.size, droppedNegative]).toEqual([0, 0]);
    expect((await recountById(client)).lights.size).toBe(0);
  }));

test.each<[string, JobColumns, number, number]>([
  ["taken before it was created", { ...JOBS.succeeded, started_at: at(-1) }, 40, 1],
  [
    "ended before it was taken: the build and its agent",
    { ...JOBS.succeeded, started_at: at(31) },
    40,
    2,
  ],
  ["ended after the connection", { ...JOBS.succeeded, completed_at: at(41) }, 40, 1],
  ["connected before the agent was created, too", JOBS.succeeded, 29, 1],
])(
  "none of the four where one is negative, and dropped once: %s",
  (_what, job, connected, dropped) =>
    withRows(async (made, client) => {
      await agentOf(made, job, connected);
      const { firstLight, droppedNegative } = await recount(client);
      expect([firstLight.size, droppedNegative]).toEqual([0, dropped]);
      expect((await recountById(client)).lights.size).toBe(1);
    }),
);

async function agentOf(made: HandMade, job: JobColumns, connected: number): Promise<void> {
  await made.agent((await made.build({ job })).job, { created: 30, connected });
}
