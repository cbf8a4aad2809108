// Births at the cause: Coder imports a template's first version before the template exists, and its series must be there
// before anybody builds it. They were born at 1 when the import was looked up once only.

import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { publish, startInProcess, until } from "../support/firstlight.ts";
import { HandMade, at } from "../support/hand-made.ts";
import { byLabels } from "../support/scrape.ts";

test("a template that is created after its first version was imported is born at 0 before its first build", async () => {
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
});
