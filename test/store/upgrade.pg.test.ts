// A store of before version 3, which counted first builds only: it shows no total of what it can not know, is completed from the
// tables, and is then what it would have been from the beginning.

import { readFileSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import type pg from "pg";
import { SECOND } from "../../src/change/micros.ts";
import type { Agent } from "../../src/demo/coder/model.ts";
import { type Simulation, openSimulation } from "../../src/demo/coder/simulation.ts";
import { must } from "../../src/errors.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { publish, startInProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { recount } from "../support/recount.ts";
import { byLabels, sumOf, valueOf } from "../support/scrape.ts";

const FIRST_BUILD = `traits.value like '["start",%' and traits.value ->> 3 and not traits.value ->> 4`;
const GAP = /^firstlight_gaps_total\{reason="ledger_upgraded"\} 1$/m;
const NAMES = (of: string): string => `select id, value from now.${of}`;

/** Writes the store anew as version 2 would have written it. */
function asVersion2(path: string): void {
  using db = new DatabaseSync(":memory:");
  for (const version of ["000001", "000002"])
    db.exec(readFileSync(new URL(`../../sql/store/${version}.sql`, import.meta.url), "utf8"));
  db.exec(`attach '${path}' as now;
    insert into main.position select * from now.position;
    insert into main.names ${NAMES("names")};
    insert into main.ending ${NAMES("ending")};
    insert into main.fact
      select kind, fact.id, at, end_lsn, names, case kind when 3 then took end, ending
      from now.fact left join now.traits on traits.id = fact.traits
      where fact.kind in (3, 4) or (fact.kind < 3 and ${FIRST_BUILD});
    insert into main.entity
      select kind, entity.id, created_at, names
      from now.entity left join now.traits on traits.id = entity.traits
      where entity.kind = 2 or (entity.kind = 1 and ${FIRST_BUILD});
    pragma main.user_version = 2;
    detach now`);
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
  db.exec(`vacuum main into '${path}'`);
}

const sum = (counted: ReadonlyMap<string, number>): number =>
  [...counted.values()].reduce((total, value) => total + value, 0);

interface Old {
  readonly client: pg.Client;
  readonly simulation: Simulation;
  /** It waited when version 2 was there, and still does. */
  readonly waits: Agent;
  readonly target: { readonly url: string; readonly slot: string; readonly statePath: string };
}

/** A deployment that was followed by version 2, and went on while nobody followed. */
async function withOldLedger(story: (old: Old) => Promise<void>): Promise<void> {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  await using simulation = openSimulation({
    url: database.url,
    seed: 3,
    startAt: 1_787_300_000_000_000,
  });
  await simulation.seedDeployment();
  await simulation.run({ workflows: 60 });
  const { meanwhile, waits } = await twoThatWait(simulation);
  const target = {
    url: database.url,
    slot: uniqueSlot(),
    statePath: folder.path("firstlight.db"),
  };
  {
    await using before = await startInProcess(target);
    await before.caughtUp();
  }
  asVersion2(target.statePath);
  expect(await simulation.steps.connect(meanwhile)).toBe(true);
  await simulation.run({ workflows: 20 });
  await story({ client, simulation, waits, target });
}

/** Two agents of one build that have not connected. */
async function twoThatWait(
  simulation: Simulation,
): Promise<{ readonly meanwhile: Agent; readonly waits: Agent }> {
  const { steps, deployment } = simulation;
  const template = must(
    deployment.templates.find(({ name }) => name === "kubernetes"),
    "a template with two agents",
  );
  const build = await steps.firstBuild({ template: template.id, preset: null });
  await steps.acquire(build);
  await steps.wait(30 * SECOND);
  const [meanwhile, waits] = await steps.complete(build);
  await steps.wait(10 * SECOND);
  return { meanwhile: must(meanwhile, "an agent"), waits: must(waits, "a second agent") };
}

test("a ledger of first builds only is completed from the tables, as one gap, and shows nothing before", async () => {
  await withOldLedger(async ({ client, simulation, waits, target }) => {
    {
      // An open transaction holds up the snapshot.
      await client.query("begin; select pg_current_xact_id()");
      await using after = await startInProcess(target);
      await until("the gap is found", async () => GAP.test((await after.scrape()).text));
      const before = await after.scrape();
      expect(valueOf(before, "firstlight_ready")).toBe(0);
      expect(before.text).not.toContain("coderd_");
      await client.query("rollback");
      const page = await after.caughtUp();
      await expectSumsEqualRecount(client, page);
      expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
      expect(Object.fromEntries(byLabels(page, "firstlight_gaps_total"))).toEqual({
        '["ledger_upgraded"]': 1,
      });
      expect(await simulation.steps.connect(waits)).toBe(true);
      await expectSumsEqualRecount(client, await after.caughtUp());
    }
    await expectLedgerEqualsTables(client, target.statePath, simulation);
    {
      await using again = await startInProcess(target);
      const page = await again.caughtUp();
      await expectSumsEqualRecount(client, page);
      expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
    }
  });
});

test("with --baseline none it is followed as it is: first builds all-time, other builds from here on", async () => {
  await withOldLedger(async ({ client, target }) => {
    await using after = await startInProcess({
      ...target,
      env: { FIRSTLIGHT_BASELINE: "none" },
    });
    const page = await after.caughtUp();
    const { attempts, enqueued } = await recount(client);
    expect(sumOf(page, "coderd_workspace_creation_attempts_total")).toBe(sum(attempts));
    expect(sumOf(page, "coderd_workspace_builds_enqueued_total")).toBeLessThan(sum(enqueued));
    expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
    expect([...byLabels(page, "firstlight_gaps_total")]).toEqual([]);
  });
});
