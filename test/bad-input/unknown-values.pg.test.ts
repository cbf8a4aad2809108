// A newer Coder adds values to its enums. Such rows are counted and logged, and no total depends on them.

import { randomUUID } from "node:crypto";
import type pg from "pg";
import { expect, test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { must } from "../../src/errors.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { createDatabase } from "../support/database.ts";
import {
  expectLabelsEqualRecount,
  expectLedgerEqualsTables,
  expectSumsEqualRecount,
} from "../support/exact.ts";
import { publish, startInProcess } from "../support/firstlight.ts";
import { type Scrape, byLabels, sumOf } from "../support/scrape.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

interface Odd {
  readonly number?: number;
  readonly transition?: string;
  readonly reason?: string;
  readonly type?: string;
}

/** A build of a workspace of its own, in Coder's order; returns its job. Values are ours: no quoting is needed. */
async function insertBuild(client: pg.Client, row: Odd): Promise<string> {
  const { number = 1, transition = "start", reason = "initiator", type = "workspace_build" } = row;
  const [workspace, job] = [randomUUID(), randomUUID()];
  await client.query(
    `begin;
     insert into workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name, automatic_updates)
       select '${workspace}', now(), now(), u.id, t.organization_id, t.id, 'w-${workspace.slice(0, 8)}', 'never'
       from (select * from templates where name = 'batch') t, (select id from users where not is_system limit 1) u;
     insert into provisioner_jobs (id, created_at, updated_at, organization_id, initiator_id, provisioner, storage_method, file_id, type, input)
       select '${job}', now(), now(), organization_id, owner_id, 'terraform', 'file', gen_random_uuid(), '${type}', '{}'
       from workspaces where id = '${workspace}';
     insert into workspace_builds (id, created_at, updated_at, workspace_id, template_version_id, build_number, transition, initiator_id, job_id, reason)
       select gen_random_uuid(), now(), now(), w.id, t.active_version_id, ${number}, '${transition}', w.owner_id, '${job}', '${reason}'
       from workspaces w join templates t on t.id = w.template_id where w.id = '${workspace}';
     commit`,
  );
  return job;
}

const complete = async (client: pg.Client, job: string): Promise<unknown> =>
  client.query(
    "update provisioner_jobs set started_at = now(), worker_id = gen_random_uuid(), completed_at = now() where id = $1",
    [job],
  );

function unknown(scrape: Scrape): Record<string, number> {
  return Object.fromEntries(byLabels(scrape, "firstlight_unknown_values_total"));
}

test("enum values of a newer Coder are counted, logged once each, and change no total", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  const statePath = folder.path("firstlight.db");
  await using simulation = openSimulation({ url: database.url, seed: 1, startAt: START_AT });
  await simulation.seedDeployment();
  {
    await using firstlight = await startInProcess({ url: database.url, statePath });
    await simulation.workflows.createRegular();
    const before = await firstlight.caughtUp();
    expect(unknown(before)).toEqual({});

    // A publication with column lists does not stand in the way of new values.
    await client.query("alter type workspace_transition add value 'hibernate'");
    await client.query("alter type build_reason add value 'moonrise'");
    await client.query("alter type provisioner_job_type add value 'template_version_audit'");

    for (let i = 0; i < 2; i += 1) {
      await complete(client, await insertBuild(client, { transition: "hibernate" }));
      await complete(
        client,
        await insertBuild(client, { type: "template_version_audit", number: 2 }),
      );
      await complete(client, await insertBuild(client, { reason: "moonrise", number: 2 }));
    }
    const odd = await firstlight.caughtUp();
    expect(unknown(odd)).toEqual({
      '["workspace_builds.transition"]': 2,
      '["workspace_builds.reason"]': 2,
      '["provisioner_jobs.type"]': 2,
    });
    expect(sumOf(odd, "coderd_workspace_creation_attempts_total")).toBe(1);
    await expectSumsEqualRecount(client, odd);
    await expectLabelsEqualRecount(client, odd);

    // A first build is one whatever the reason.
    const job = await insertBuild(client, { reason: "moonrise" });
    await complete(client, job);
    await simulation.workflows.createFails();
    const after = await firstlight.caughtUp();
    expect(sumOf(after, "coderd_workspace_creation_attempts_total")).toBe(3);
    await expectSumsEqualRecount(client, after);
    await expectLabelsEqualRecount(client, after);

    const logged = firstlight.log
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ message }) => String(message).startsWith("unknown enum value"));
    expect(logged.map(({ column, value, level }) => ({ column, value, level }))).toEqual([
      { column: "workspace_builds.transition", value: "hibernate", level: "warn" },
      { column: "provisioner_jobs.type", value: "template_version_audit", level: "warn" },
      { column: "workspace_builds.reason", value: "moonrise", level: "warn" },
    ]);
    expect(after.series.get("firstlight_reconnects_total")).toBe(0);
  }
  await expectLedgerEqualsTables(client, statePath);
});

test("a baseline reads them as the stream does", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  await using simulation = openSimulation({ url: database.url, seed: 2, startAt: START_AT });
  await simulation.seedDeployment();
  await client.query("alter type workspace_transition add value 'hibernate'");
  await client.query("alter type build_reason add value 'moonrise'");
  const jobs = [
    await insertBuild(client, { transition: "hibernate" }),
    await insertBuild(client, { reason: "moonrise" }),
  ];
  await complete(client, must(jobs[1], "a job"));
  const statePath = folder.path("firstlight.db");
  {
    await using firstlight = await startInProcess({ url: database.url, statePath });
    const scrape = await firstlight.caughtUp();
    expect(sumOf(scrape, "coderd_workspace_creation_attempts_total")).toBe(1);
    await expectSumsEqualRecount(client, scrape);
    await expectLabelsEqualRecount(client, scrape);
  }
  await expectLedgerEqualsTables(client, statePath);
});
