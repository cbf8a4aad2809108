// The simulated tables carry what the follower needs and what it must never see.

import { DatabaseError } from "pg";
import { expect, test } from "vitest";
import { createCoderSchema } from "../../../src/demo/coder/schema.ts";
import { createDatabase } from "../../support/database.ts";

const COLUMN_LISTS = `
  workspace_builds (id, created_at, workspace_id, template_version_id, build_number, transition, initiator_id, job_id,
    reason, template_version_preset_id),
  provisioner_jobs (id, created_at, updated_at, started_at, canceled_at, completed_at, error, error_code, type,
    provisioner, initiator_id, worker_id),
  workspace_agents (id, created_at, name, first_connected_at, last_connected_at, disconnected_at, resource_id, parent_id,
    lifecycle_state, ready_at, deleted)`;

test("the column lists of the publication fit the tables, and updates still pass", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await client.query(`create publication lists for table ${COLUMN_LISTS}`);
  await client.query("update workspace_agents set deleted = true");
  const { rows } = await client.query(
    "select count(*)::int from pg_publication_tables where pubname = 'lists'",
  );
  expect(rows).toEqual([{ count: 3 }]);
});

test("a half-made schema is refused whole", async () => {
  await using database = await createDatabase({ content: "empty" });
  const client = await database.client();
  await client.query("create table workspaces (id uuid)");
  await expect(createCoderSchema(client)).rejects.toBeInstanceOf(DatabaseError);
  const { rows } = await client.query(
    "select tablename from pg_tables where schemaname = 'public'",
  );
  expect(rows).toEqual([{ tablename: "workspaces" }]);
});

test.each([
  ["pending", "null, null, null, null"],
  ["running", "now(), null, null, null"],
  ["canceling", "now(), now(), null, null"],
  ["failed", "now(), null, null, 'boom'"],
  ["succeeded", "now(), null, now(), null"],
  ["succeeded", "now(), null, now(), ''"],
  ["failed", "now(), null, now(), 'boom'"],
  ["failed", "now(), now(), now(), 'canceled'"],
  ["canceled", "now(), now(), now(), null"],
  ["canceled", "null, now(), now(), null"],
])("job_status is %s for (started, canceled, completed, error) = (%s)", async (status, values) => {
  await using database = await createDatabase();
  const client = await database.client();
  await client.query(
    `insert into organizations values (gen_random_uuid(), 'o', '', now(), now(), true, 'o')`,
  );
  const { rows } = await client.query(
    `insert into provisioner_jobs (id, created_at, updated_at, organization_id, initiator_id, provisioner,
       storage_method, type, input, file_id, started_at, canceled_at, completed_at, error)
     select gen_random_uuid(), now(), now(), id, gen_random_uuid(), 'echo', 'file', 'workspace_build', '{}',
       gen_random_uuid(), ${values}
     from organizations
     returning job_status`,
  );
  expect(rows).toEqual([{ job_status: status }]);
});
