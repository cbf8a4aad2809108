// A store of before version 3, which counted first builds only: it shows no total of what it can not know, is completed from the
// tables, and is then what it would have been from the beginning.

import { readFileSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { openSimulation } from "../../src/demo/coder/simulation.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { publish, startInProcess, uniqueSlot } from "../support/firstlight.ts";
import { byLabels, valueOf } from "../support/scrape.ts";

const FIRST_BUILD = `traits.value like '["start",%' and traits.value ->> 3 and not traits.value ->> 4`;
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
      where fact.kind > 2 or (${FIRST_BUILD});
    insert into main.entity
      select kind, entity.id, created_at, names
      from now.entity left join now.traits on traits.id = entity.traits
      where entity.kind = 2 or (${FIRST_BUILD});
    pragma main.user_version = 2;
    detach now`);
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
  db.exec(`vacuum main into '${path}'`);
}

test("a ledger of first builds only is completed from the tables, as one gap, and shows nothing before", async () => {
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
  await simulation.run({ workflows: 20 });
  {
    await using after = await startInProcess(target);
    const page = await after.caughtUp();
    await expectSumsEqualRecount(client, page);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(1);
    expect(Object.fromEntries(byLabels(page, "firstlight_gaps_total"))).toEqual({
      '["ledger_upgraded"]': 1,
    });
  }
  await expectLedgerEqualsTables(client, target.statePath, simulation);
  {
    await using again = await startInProcess(target);
    const page = await again.caughtUp();
    await expectSumsEqualRecount(client, page);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
  }
});
