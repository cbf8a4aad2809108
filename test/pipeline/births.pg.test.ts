// Births at the cause: Coder imports a template's first version before the template exists, and its series must be there
// before anybody builds it. They were born at 1 when the import was looked up once only.

import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { parseLsn } from "../../src/lsn.ts";
import { createDatabase } from "../support/database.ts";
import { publish, serverLsn, startInProcess, until } from "../support/firstlight.ts";
import { HandMade, at } from "../support/hand-made.ts";
import { byLabels } from "../support/scrape.ts";

/** What happens between the import and its template. */
const MEANWHILE = [
  { meanwhile: "nothing", statement: "select 1" },
  // Also when another way of reading takes over, as where a neighbour's transaction stays open.
  {
    meanwhile: "all connections are lost",
    statement: `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`,
  },
];

test.each(MEANWHILE)(
  "a template that is created after its first version was imported is born at 0 before its first build (meanwhile: $meanwhile)",
  async ({ statement }) => {
    await using database = await createDatabase();
    const client = await database.client();
    await publish(client);
    const made = await HandMade.on(client);
    await using firstlight = await startInProcess({ url: database.url });
    await firstlight.caughtUp();

    const version = randomUUID();
    const job = await made.job("template_version_import");
    await made.insert("template_versions", {
      id: version,
      organization_id: made.organization,
      created_by: made.alice,
      created_at: at(0),
      updated_at: at(0),
      name: "v1",
      readme: "",
      job_id: job,
    });
    await client.query(
      "update provisioner_jobs set completed_at = $2, updated_at = $2 where id = $1",
      [job, at(30)],
    );
    await firstlight.caughtUp();
    // What is acknowledged is not told again.
    const told = await serverLsn(database.url);
    await until("the import is acknowledged", async () => {
      await made.job("template_version_import");
      await firstlight.caughtUp();
      const { rows } = await client.query<{ confirmed: string }>(
        "select confirmed_flush_lsn::text as confirmed from pg_replication_slots where database = current_database()",
      );
      return parseLsn(rows[0]?.confirmed ?? "0/0") >= told;
    });
    await client.query(statement);

    const template = randomUUID();
    await made.insert("templates", {
      id: template,
      organization_id: made.organization,
      created_by: made.alice,
      created_at: at(31),
      updated_at: at(31),
      name: "latecomer",
      provisioner: "terraform",
      active_version_id: version,
    });
    await client.query("update template_versions set template_id = $2 where id = $1", [
      version,
      template,
    ]);

    const attempts = async (): Promise<number | undefined> =>
      byLabels(await firstlight.scrape(), "coderd_workspace_creation_attempts_total").get(
        JSON.stringify(["acme", "latecomer", ""]),
      );
    await until("the template is born", async () => (await attempts()) !== undefined, 30_000);
    expect(await attempts()).toBe(0);
  },
);
