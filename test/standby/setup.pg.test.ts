// The block for the standby, run as `setup` prints it: a standby that could not be followed then can. And `teardown` on a standby: the
// slot goes there, the rest is for the primary.

import { expect, test } from "vitest";
import { OWN_SERVER } from "../../src/commands/setup/providers.ts";
import { teardown } from "../../src/commands/teardown.ts";
import { checkRequirements } from "../../src/postgres/requirements.ts";
import { openSession } from "../../src/postgres/session.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { startInProcess, until } from "../support/firstlight.ts";
import { connect } from "../support/standby.ts";
import { firstTotals, openSite, urlOf } from "./support/site.ts";

const signal = new AbortController().signal;

/** The statements that the block shows, indented as text to copy is. */
const STATEMENTS = OWN_SERVER.standby.flatMap((line) => /^-- {6}(.*)$/.exec(line)?.[1] ?? []);

test("the printed block makes a standby fit to follow; teardown there drops the slot and says what is left", async () => {
  await using site = await openSite();
  const standby = await site.standby({ settings: { hot_standby_feedback: "off" } });
  await standby.waitFor(site.primary);
  const target = site.target(standby);
  const clientConfig = parseDatabaseUrl(target.url);
  const config = {
    database: async () => clientConfig,
    slot: target.slot,
    publication: "firstlight",
  };
  await using session = await openSession(clientConfig, { signal });
  const checks = async () =>
    (await checkRequirements(session, config)).map(({ problem }) => problem);
  expect(await checks()).toEqual([expect.stringContaining("hot_standby_feedback is off")]);

  await using primary = await connect(urlOf(site.primary));
  await primary.query("select pg_create_physical_replication_slot('standby')");
  expect(STATEMENTS).toHaveLength(3);
  for (const statement of STATEMENTS) await session.query(statement);
  await until("nothing is in the way", async () => (await checks()).length === 0);
  await until("the standby uses the printed slot", async () => {
    const { rows } = await primary.query<{ active: boolean }>(
      "select active from pg_replication_slots where slot_name = 'standby'",
    );
    return rows[0]?.active === true;
  });

  {
    await using firstlight = await startInProcess(target);
    await firstTotals(site.primary, firstlight);
  }
  const printed: string[] = [];
  const out = (text: string) => void printed.push(text);
  await expect(teardown({ config, apply: true, out, signal })).rejects.toMatchObject({
    reason: "privileges",
    hint: expect.stringMatching(/^-- 2\. As owner of Coder's tables, on the primary/),
  });
  expect(printed[0]).toBe(`dropped slot ${target.slot}\n`);
  expect(await session.query("select from pg_replication_slots where plugin = 'pgoutput'")).toEqual(
    [],
  );
});
