// SIGKILL while jobs wait and run. What starts and ends afterwards is news, however long ago its rows say it was: a job that waited is
// in no store, one that runs is.

import { expect, test } from "vitest";
import type pg from "pg";
import type { Uuid } from "../../src/change/row.ts";
import { createDatabase } from "../support/database.ts";
import {
  expectLabelsEqualRecount,
  expectLedgerEqualsTables,
  expectSumsEqualRecount,
} from "../support/exact.ts";
import { type Process, publish, startProcess, uniqueSlot } from "../support/firstlight.ts";
import { HandMade, at } from "../support/hand-made.ts";
import { byLabels, valueOf } from "../support/scrape.ts";
import { temporaryFolder } from "./support/folder.ts";

const IMPORT = "template_version_import";
const DRY_RUN = "template_version_dry_run";

/** Coder's own statements, long ago by the rows. */
const acquire = (client: pg.Client, job: Uuid): Promise<unknown> =>
  client.query(
    "update provisioner_jobs set started_at = $2, updated_at = $2, worker_id = gen_random_uuid() where id = $1",
    [job, at(3)],
  );
const heartbeat = (client: pg.Client): Promise<unknown> =>
  client.query("update provisioner_jobs set updated_at = now() where completed_at is null");
const complete = (client: pg.Client, job: Uuid, error: string | null = null): Promise<unknown> =>
  client.query(
    "update provisioner_jobs set completed_at = $2, updated_at = $2, error = $3 where id = $1",
    [job, at(40), error],
  );

async function expectShown(
  client: pg.Client,
  firstlight: Process,
  { current, waited, took }: Readonly<Record<"current" | "waited" | "took", number>>,
): Promise<void> {
  const page = await firstlight.caughtUp();
  const sum = (metric: string): number =>
    [...byLabels(page, metric).values()].reduce((total, value) => total + value, 0);
  expect({
    current: sum("coderd_provisionerd_jobs_current"),
    waited: sum("coderd_provisioner_job_queue_wait_seconds_count"),
    took: sum("coderd_provisionerd_job_timings_seconds_count"),
  }).toEqual({ current, waited, took });
  expect(valueOf(page, 'firstlight_in_flight{kind="job"}')).toBe(current);
  await expectSumsEqualRecount(client, page);
  await expectLabelsEqualRecount(client, page);
}

test("jobs that wait and run at a SIGKILL start and end as if nothing had been", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  const made = await HandMade.on(client);
  const target = {
    url: database.url,
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
  };
  // Each of them of another type, in the order of what happens to them below.
  const jobs = async (): Promise<[Uuid, Uuid, Uuid]> => [
    await made.job(IMPORT),
    await made.job(DRY_RUN),
    await made.inOneTransaction(async () => (await made.build()).job),
  ];
  const inTables = await jobs();
  {
    await using first = await startProcess(target);
    await first.caughtUp();
    const inStream = await jobs();
    const all = [...inTables, ...inStream];
    // A third of them runs when it is killed.
    await acquire(client, inTables[0]);
    await acquire(client, inStream[2]);
    await heartbeat(client);
    await expectShown(client, first, { current: 2, waited: 2, took: 0 });
    await first.kill();

    // While nobody follows: one that ran ends, one that waited starts.
    await complete(client, inTables[0]);
    await acquire(client, inTables[1]);
    await heartbeat(client);
    {
      await using second = await startProcess(target);
      await expectShown(client, second, { current: 2, waited: 3, took: 1 });
      await heartbeat(client);
      // While it is followed again: those that waited start, those that run end.
      for (const job of [inTables[2], inStream[0], inStream[1]]) await acquire(client, job);
      await heartbeat(client);
      await expectShown(client, second, { current: 5, waited: 6, took: 1 });
      await second.kill();
    }
    await using third = await startProcess(target);
    await expectShown(client, third, { current: 5, waited: 6, took: 1 });
    for (const job of all.filter((id) => id !== inTables[0])) await complete(client, job, "boom");
    await heartbeat(client);
    await expectShown(client, third, { current: 0, waited: 6, took: 6 });
    expect(valueOf(await third.scrape(), "firstlight_baselines_total")).toBe(0);
    expect(await third.terminate()).toBe(0);
  }
  await expectLedgerEqualsTables(client, target.statePath);
});
