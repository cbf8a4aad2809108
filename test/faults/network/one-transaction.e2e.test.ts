// Single transactions of very many rows, as imports and migrations make them, with a small heap and an impatient server:
// all of them news, all of them known, and a piece of news among very many heartbeats.
//
// FIRSTLIGHT_TEST_UPDATES=2000000: row updates in one transaction. Default 200,000.
// FIRSTLIGHT_TEST_NEWS: workspaces that are made in one transaction, with three rows of news each. Default 5,000.
// A transaction's news are in memory until it is counted, about 2 kB a row, and a job that ended within the hour is news again
// when more than some thousand others have ended since: what is bounded is what says nothing new.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type pg from "pg";
import { report } from "../../crash/support/report.ts";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { createDatabase } from "../../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../../support/exact.ts";
import { type Process, publish, startProcess, uniqueSlot } from "../../support/firstlight.ts";
import { HandMade, JOBS } from "../../support/hand-made.ts";
import { type Scrape, valueOf } from "../../support/scrape.ts";
import { connectAllAgents, endAllJobs, manyAgents, manyBuilds } from "../support/bulk.ts";
import { expectUndisturbed } from "../support/network.ts";
import { startProxy } from "../support/proxy.ts";
import { withWalSenderTimeout } from "../support/wire.ts";

const UPDATES = Number(process.env["FIRSTLIGHT_TEST_UPDATES"] ?? 200_000);
const WORKSPACES = Number(process.env["FIRSTLIGHT_TEST_NEWS"] ?? 5_000);
const HEAP_MB = 256;
const MEGABYTE = 2 ** 20;
const CATCHES_UP_WITHIN_MS = 60_000 + UPDATES / 4;

test(
  `transactions of up to ${UPDATES} rows: exact, in a heap of ${HEAP_MB} MB, with every question of the server answered`,
  { timeout: 120_000 + UPDATES },
  async () => {
    await using database = await createDatabase();
    await using folder = await temporaryFolder();
    const client = await database.client();
    await publish(client);
    const made = await HandMade.on(client);
    await using proxy = await startProxy({
      port: Number(new URL(database.url).port),
      onMessage: (message) => withWalSenderTimeout(message, "5s"),
    });
    const target = {
      url: proxy.url(database.url),
      slot: uniqueSlot(),
      statePath: folder.path("firstlight.db"),
    };
    const env = {
      NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}`,
      // A series for each agent is another matter: bounded by the limit of series, not by the size of a transaction.
      FIRSTLIGHT_AGENT_LABELS: "template_name",
    };
    {
      await using firstlight = await startProcess({ ...target, env });
      await firstlight.caughtUp();
      const follow = async (what: string, write: () => Promise<unknown>): Promise<Scrape> =>
        followed(firstlight, what, write);
      await follow("workspaces in one transaction", () =>
        inOne(client, async () => manyBuilds(client, made, WORKSPACES)),
      );
      await follow("their ends and agents in one transaction", () =>
        inOne(client, async () => {
          await endAllJobs(client);
          await manyAgents(client);
        }),
      );
      await follow("the agents' connections in one transaction", () =>
        inOne(client, async () => connectAllAgents(client)),
      );
      const page = await follow("updates of known rows in one transaction", () =>
        inOne(client, async () => {
          for (let written = 0; written < UPDATES; written += 3 * WORKSPACES)
            await touchAll(client);
          await made.build({ job: JOBS.succeeded });
          await touchAll(client);
        }),
      );
      await expectSumsEqualRecount(client, page);
      expectUndisturbed(page);
      expect(valueOf(page, "firstlight_reconnects_total")).toBe(0);
      expect(valueOf(page, 'firstlight_facts_total{fact="attempted"}')).toBe(WORKSPACES + 1);
      expect(await firstlight.terminate()).toBe(0);
    }
    await expectLedgerEqualsTables(client, target.statePath);
  },
);

async function followed(
  firstlight: Process,
  what: string,
  write: () => Promise<unknown>,
): Promise<Scrape> {
  const began = performance.now();
  await write();
  const written = performance.now();
  const page = await firstlight.caughtUp(CATCHES_UP_WITHIN_MS);
  report(what, {
    "written in s": ((written - began) / 1000).toFixed(1),
    "followed in s": ((performance.now() - began) / 1000).toFixed(1),
    "peak RSS so far in MiB": Math.round(peakResidentBytes(firstlight.pid) / MEGABYTE),
  });
  return page;
}

/** VmHWM of proc(5); NaN on systems without. */
function peakResidentBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  } catch {
    return Number.NaN;
  }
}

async function inOne(client: pg.Client, write: () => Promise<void>): Promise<void> {
  await client.query("begin");
  await write();
  await client.query("commit");
}

/** A write to every build, job and agent that says nothing new. */
async function touchAll(client: pg.Client): Promise<void> {
  await client.query(`update workspace_agents set last_connected_at = clock_timestamp();
    update provisioner_jobs set updated_at = clock_timestamp();
    update workspace_builds set updated_at = clock_timestamp()`);
}
