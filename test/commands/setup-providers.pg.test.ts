// What `setup` prints for each service is run on an ordinary Postgres, block by block and comments included: it parses, and the role
// that comes of it can follow, but for rights that only the service knows.

import pg from "pg";
import { afterAll, expect, inject, test } from "vitest";
import { PROVIDERS } from "../../src/commands/setup/providers.ts";
import { setupText } from "../../src/commands/setup/text.ts";
import { checkRequirements } from "../../src/postgres/requirements.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { blocksOf } from "../support/blocks.ts";
import { createDatabase } from "../support/database.ts";
import { uniqueSlot } from "../support/firstlight.ts";

const signal = new AbortController().signal;

/** What the service brings along, or its operator does. */
async function prepare(admin: pg.Client, provider: string, role: string): Promise<void> {
  if (provider === "cnpg") await admin.query(`create role "${role}" with login replication`);
  if (!["rds", "aurora"].includes(provider)) return;
  const { rowCount } = await admin.query("select from pg_roles where rolname = 'rds_replication'");
  if (rowCount === 0) await admin.query("create role rds_replication nologin");
}

afterAll(async () => {
  const admin = new pg.Client(inject("postgresUrl"));
  await admin.connect();
  await admin.query("drop role if exists rds_replication");
  await admin.end();
});

test.each(PROVIDERS)("%s: every block runs as printed", async (provider) => {
  await using database = await createDatabase();
  const role = `${database.name} ${provider}`;
  const slot = uniqueSlot();
  const admin = await database.client();
  await prepare(admin, provider, role);
  try {
    const plan = { publication: "firstlight", role, wholeTables: false, provider, slot };
    // Each as one message, so that a comment that is none would be seen.
    for (const block of blocksOf(setupText(plan)).values()) await admin.query(block);

    const clientConfig = parseDatabaseUrl(database.urlAs(role.replaceAll(" ", "%20")));
    await using session = await openSession(clientConfig, { signal });
    const config = { database: async () => clientConfig, slot, publication: "firstlight" };
    const findings = await checkRequirements(session, config);
    // A membership lets nobody replicate on an ordinary server.
    const expected = ["rds", "aurora"].includes(provider) ? ["role"] : [];
    expect(findings.map(({ check }) => check)).toEqual(expected);
    const { rows } = await admin.query(
      "select plugin from pg_replication_slots where slot_name = $1",
      [slot],
    );
    expect(rows).toEqual([{ plugin: "pgoutput" }]);
  } finally {
    const name = pg.escapeIdentifier(role);
    await admin.query(`drop owned by ${name}; drop role ${name}`);
  }
});
