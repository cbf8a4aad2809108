// `/api/facts` of a running serve: the facts are the ones that the totals beside them are made of.

import { expect, test } from "vitest";
import { openSimulation } from "../src/demo/coder/simulation.ts";
import { createDatabase } from "./support/database.ts";
import { publish, startInProcess } from "./support/firstlight.ts";

interface Page {
  readonly ready: boolean;
  readonly up_to: string | null;
  readonly facts: readonly { readonly id: string; readonly link?: string }[];
}

test("each total is as many as the facts that are listed of it, and their ids are Coder's", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  await using simulation = openSimulation({
    url: database.url,
    seed: 3,
    startAt: 1_787_300_000_000_000,
  });
  await simulation.seedDeployment();
  // Half comes from the tables, half from the WAL.
  await simulation.run({ workflows: 80 });
  await using firstlight = await startInProcess({
    url: database.url,
    env: { FIRSTLIGHT_CODER_URL: "https://coder.example.com/" },
  });
  await firstlight.caughtUp();
  await simulation.run({ workflows: 80 });
  const scrape = await firstlight.caughtUp();

  const list = async (query: string): Promise<Page> =>
    (await (await firstlight.get(`/api/facts?limit=1000&${query}`)).json()) as Page;
  const total = (name: string, labels = ""): number =>
    [...scrape.series]
      .filter(([series]) => series.startsWith(`coderd_${name}{`) && series.includes(labels))
      .reduce((sum, [, value]) => sum + value, 0);
  for (const [query, expected] of [
    ["kind=ended&status=failure&build=first", total("workspace_creation_failures_total")],
    ["stage=queue&build=first", total("workspace_creation_failures_total", 'stage="queue"')],
    [
      "status=canceled&build=first",
      total("workspace_creation_outcomes_total", 'status="canceled"'),
    ],
    ["kind=attempted&build=first", total("workspace_creation_attempts_total")],
    ["kind=attempted", total("workspace_builds_enqueued_total")],
    ["kind=attempted&build=prebuild", total("prebuilt_workspaces_created_total")],
    ["kind=attempted&build=claim", total("prebuilt_workspaces_claimed_total")],
  ] as const) {
    expect(expected, query).toBeGreaterThan(0);
    expect((await list(query)).facts, query).toHaveLength(expected);
  }

  const { ready, up_to: upTo, facts } = await list("kind=ended&status=failure");
  expect({ ready, upTo }).toEqual({ ready: true, upTo: expect.stringMatching(/^\w+\/\w+$/) });
  const { rows } = await client.query<{ id: string }>(
    "select id from provisioner_jobs where type = 'workspace_build' and error is not null and completed_at is not null",
  );
  expect(facts.map(({ id }) => id).sort()).toEqual(rows.map(({ id }) => id).sort());

  const builds = (await list("kind=attempted")).facts;
  const known = await client.query<{ id: string }>("select id from workspace_builds");
  const links = known.rows.map(
    ({ id }) => `https://coder.example.com/api/v2/workspacebuilds/${id}`,
  );
  expect(builds.map(({ link }) => link).sort()).toEqual(links.sort());
});
