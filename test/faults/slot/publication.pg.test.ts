// The publication is changed for a while, with writes meanwhile that no stream will ever tell of, and is as before again.
// Postgres 18 raises no error and lets us acknowledge past them; what stays is that its catalog rows were written anew.

import type pg from "pg";
import { expect, test } from "vitest";
import { expectSumsEqualRecount } from "../../support/exact.ts";
import { publish, until } from "../../support/firstlight.ts";
import { JOBS, at } from "../../support/hand-made.ts";
import { PUBLISHED_COLUMNS } from "../../../src/postgres/publication.ts";
import { regressions, valueOf } from "../../support/scrape.ts";
import { expectAccounted } from "../support/accounted.ts";
import { RECOVERS_WITHIN_MS, type Scene, gaps, publishWhole, scene } from "../support/scene.ts";

const AGENTS = `workspace_agents (${PUBLISHED_COLUMNS.workspace_agents.join(", ")})`;

interface Change {
  readonly name: string;
  readonly away: string;
  /** Puts it back as it was, by its looks. */
  readonly back: string | ((client: pg.Client) => Promise<unknown>);
  readonly publish?: (client: pg.Client) => Promise<unknown>;
}

const CHANGES: readonly Change[] = [
  { name: "it is dropped and made again", away: "drop publication firstlight", back: publish },
  {
    name: "a table is taken out of it",
    away: "alter publication firstlight drop table workspace_agents",
    back: `alter publication firstlight add table ${AGENTS}`,
  },
  {
    name: "a table is taken out of it, whole tables",
    away: "alter publication firstlight drop table workspace_agents",
    back: "alter publication firstlight add table workspace_agents",
    publish: publishWhole,
  },
  {
    name: "it publishes no UPDATEs",
    away: "alter publication firstlight set (publish = 'insert')",
    back: "alter publication firstlight set (publish = 'insert, update, delete, truncate')",
  },
  {
    name: "it filters rows",
    away: `alter publication firstlight set table workspace_builds, provisioner_jobs,
             workspace_agents where (id < '00000000-0000-0000-0000-000000000000')`,
    back: "alter publication firstlight set table workspace_builds, provisioner_jobs, workspace_agents",
    publish: publishWhole,
  },
  {
    name: "another publication has its name",
    away: "alter publication firstlight rename to elsewhere",
    back: "alter publication elsewhere rename to firstlight",
  },
];

/** What no stream tells: the end of a job and the first connection of its agent. */
async function unheard({ client }: Scene, job: string, agent: string): Promise<void> {
  await client.query("update provisioner_jobs set completed_at = $2 where id = $1", [job, at(60)]);
  await client.query("update workspace_agents set first_connected_at = $2 where id = $1", [
    agent,
    at(75),
  ]);
}

async function tell({ client }: Scene, back: Change["back"]): Promise<void> {
  if (typeof back === "string") await client.query(back);
  else await back(client);
}

test.each(CHANGES.map((change) => [change.name, change] as const))(
  "%s for a moment: a gap, healed from the tables",
  async (_name, change) => {
    await scene({ publish: change.publish ?? publish }, async (on) => {
      const { job } = await on.made.build({ job: JOBS.running });
      const agent = await on.made.agent((await on.made.build({ job: JOBS.succeeded })).job);
      const before = await on.follow();
      await on.client.query(change.away);
      await unheard(on, job, agent);
      await tell(on, change.back);
      // What comes afterwards is told again, and acknowledged, before anybody looks at the catalog.
      await on.inOne(() => on.made.build({ job: JOBS.succeeded }));
      const told = gaps(await on.shown());
      await on.leave();
      const after = await on.follow();
      // A look at the catalog that is under way just then may find it before the restart does.
      const found = [told, gaps(after)].filter((each) => each["publication_changed"] === 1);
      expect(found).toHaveLength(1);
      expect(regressions(before, after)).toEqual([]);
      await expectSumsEqualRecount(on.client, after);
      await on.leave();
      await expectAccounted(on.client, on.statePath);
    });
  },
);

// Meanwhile it may have been acknowledged; that does not make it counted.
test("a table is taken out and put back while it is served: found without a restart", async () => {
  await scene({}, async (on) => {
    const { job } = await on.made.build({ job: JOBS.running });
    const agent = await on.made.agent((await on.made.build({ job: JOBS.succeeded })).job);
    const before = await on.follow();
    await on.client.query("alter publication firstlight drop table workspace_agents");
    await unheard(on, job, agent);
    await on.client.query(`alter publication firstlight add table ${AGENTS}`);
    await until(
      "the gap is found",
      async () => gaps(await on.firstlight.scrape())["publication_changed"] === 1,
      RECOVERS_WITHIN_MS,
    );
    const after = await on.shown();
    expect(valueOf(after, "firstlight_baselines_total")).toBe(2);
    expect(regressions(before, after)).toEqual([]);
    await expectSumsEqualRecount(on.client, after);
    await on.leave();
    await expectAccounted(on.client, on.statePath);
  });
});
