// On a standby it is as late as the last commit of the primary's that was replayed, whatever the standby's clock says: who connected in
// time may be in WAL that is still to come.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { startInProcess, until } from "../support/firstlight.ts";
import { HandMade, JOBS } from "../support/hand-made.ts";
import { valueOf } from "../support/scrape.ts";
import { ask } from "../support/standby.ts";
import { firstTotals, openSite } from "./support/site.ts";

const TIMEOUT = 2;

test("told once a commit after its time is replayed, and not by a standby that lags", async () => {
  await using site = await openSite();
  const { primary } = site;
  const standby = await site.standby();
  await using firstlight = await startInProcess({
    ...site.target(standby),
    timing: { graceMs: 0 },
  });
  await firstTotals(primary, firstlight);
  const made = await HandMade.again(await site.client());
  const { job } = await made.inOneTransaction(() => made.build({ job: JOBS.succeeded }));
  const inTime = await made.agent(job, { name: "in-time", timeout: TIMEOUT });
  const never = await made.agent(job, { name: "never", timeout: TIMEOUT });
  /** Which of the two; the site has others. */
  const told = async (): Promise<readonly string[]> => {
    const answer = await firstlight.get("/api/facts?kind=overdue&limit=1000");
    const { facts } = (await answer.json()) as { facts: readonly { readonly id: string }[] };
    return facts.map(({ id }) => id).filter((id) => id === inTime || id === never);
  };
  await standby.waitFor(primary);
  await firstlight.caughtUp();

  await ask(standby, "select pg_wal_replay_pause()");
  await until("replay is paused", async () => {
    const [state] = await ask<{ state: string }>(
      standby,
      "select pg_get_wal_replay_pause_state() as state",
    );
    return state?.state === "paused";
  });
  await made.connects(inTime, TIMEOUT - 1);
  await sleep((TIMEOUT + 1) * 1_000);
  expect(await told(), "the primary has said more since").toEqual([]);
  // By its commit it is later than both their times.
  await made.user(crypto.randomUUID(), "somebody");
  await ask(standby, "select pg_wal_replay_resume()");
  await until("one is told", async () => (await told()).length > 0);
  await standby.waitFor(primary);
  const page = await firstlight.caughtUp();
  expect(await told()).toEqual([never]);
  expect(valueOf(page, 'firstlight_divergent_ids{kind="overdue"}')).toBe(0);
});
