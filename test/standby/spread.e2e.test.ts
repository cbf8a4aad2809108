// A balancer may send the connections of one attempt to two servers also after both that are asked first reached the same.

import { expect, test } from "vitest";
import { startInProcess, until } from "../support/firstlight.ts";
import { ask, keepLogging } from "../support/standby.ts";
import { balance } from "./support/balancer.ts";
import { openSite, troubleOf, urlOf } from "./support/site.ts";

/** The first attempt must be told the truth; there is no second. */
const timing = { backOffUpToMs: 60_000 };

test("a snapshot that is made or read on another server than the session's is refused, and leaves no slot", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  const before = (await ask(primary, "select from pg_replication_slots")).length;
  await using _records = keepLogging(primary);
  // In turn: the session, who answers, the snapshot, its reader.
  for (const servers of [
    [primary, primary, standby, standby],
    [primary, primary, primary, standby],
  ]) {
    await using balancer = await balance(servers);
    const spread = new URL(urlOf(primary));
    spread.port = String(balancer.port);
    {
      await using refused = await startInProcess({
        ...site.target(primary),
        url: spread.href,
        timing,
      });
      await until("it says why", async () => (await troubleOf(refused)).reason !== "");
      expect((await troubleOf(refused)).reason).toBe("load_balanced");
      expect((await refused.scrape()).hasTotals).toBe(false);
    }
    await until("no slot is left", async () => {
      const left = await ask(standby, "select from pg_replication_slots");
      const here = await ask(primary, "select from pg_replication_slots");
      return left.length === 0 && here.length === before;
    });
  }
}, 120_000);
