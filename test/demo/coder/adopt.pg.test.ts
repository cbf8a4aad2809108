// A demonstration with a kept folder goes on where the last one ended; it used to die on the ids it had given before.

import { expect, test } from "vitest";
import { must } from "../../../src/errors.ts";
import { whatIsLeft } from "../../../src/demo/coder/adopt.ts";
import { openSimulation } from "../../../src/demo/coder/simulation.ts";
import { createDatabase } from "../../support/database.ts";

const START_AT = 1_787_300_000_000_000;

test("a second simulation goes on with the deployment of the first", async () => {
  await using database = await createDatabase();
  expect(await whatIsLeft(database.url)).toBeNull();
  {
    await using first = openSimulation({ url: database.url, seed: 1, startAt: START_AT });
    await first.seedDeployment();
    await first.run({ workflows: 40 });
  }
  const left = must(await whatIsLeft(database.url), "nothing left");
  expect(left.newest).toBeGreaterThan(START_AT);
  await using second = openSimulation({
    url: database.url,
    seed: 1 + left.workspaces,
    startAt: left.newest,
  });
  await second.adoptDeployment(left);
  await second.run({ workflows: 60 });
  const after = must(await whatIsLeft(database.url), "nothing left");
  expect(after.workspaces).toBeGreaterThan(left.workspaces);
  const client = await database.client();
  const { rows } = await client.query("select count(*)::int as n from organizations");
  expect(rows).toEqual([{ n: 2 }]);
});
