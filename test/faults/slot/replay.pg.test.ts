// Backfill by replay: a parked slot is never acknowledged, and copies of it are read. Twice from nothing gives the same lines
// (their order is that of birth, and depends on what came in one batch); again over a full ledger changes not a byte.

import type pg from "pg";
import { expect, test } from "vitest";
import { openSimulation } from "../../../src/demo/coder/simulation.ts";
import { temporaryFolder } from "../../crash/support/folder.ts";
import { confirmedFlush, createSlot } from "../../crash/support/slots.ts";
import { createDatabase } from "../../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../../support/exact.ts";
import { publish, startInProcess, uniqueSlot } from "../../support/firstlight.ts";
import { readLedger } from "../../support/ledger.ts";
import { type Scrape, valueOf } from "../../support/scrape.ts";

/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

/** The lines about Coder, in their order. */
const families = ({ text }: Scrape): string =>
  text
    .split("\n")
    .filter((line) => line.startsWith("coderd_") || line.startsWith("firstlight_dropped"))
    .join("\n");

const lines = (page: string): string[] => page.split("\n").sort();

async function copy(client: pg.Client, from: string, to: string): Promise<void> {
  await client.query("select pg_copy_logical_replication_slot($1, $2, false)", [from, to]);
}

/** A slot of this name again, at the position of the parked one. */
async function rewind(client: pg.Client, parked: string, slot: string): Promise<void> {
  await client.query("select pg_drop_replication_slot($1)", [slot]);
  await copy(client, parked, slot);
}

test("a parked slot is replayed twice from nothing, and twice over everything: the same page", async () => {
  await using database = await createDatabase();
  await using folder = await temporaryFolder();
  const client = await database.client();
  await publish(client);
  await using simulation = openSimulation({
    url: database.url,
    seed: 7,
    startAt: START_AT,
    divergent: true,
  });
  const parked = uniqueSlot();
  const from = await createSlot(client, parked);
  await simulation.seedDeployment();
  await simulation.run({ workflows: 60 });

  const replay = async (target: { slot: string; statePath: string }): Promise<string> => {
    await using firstlight = await startInProcess({
      url: database.url,
      ...target,
      env: { FIRSTLIGHT_BASELINE: "none" },
    });
    const page = await firstlight.caughtUp(60_000);
    expect(valueOf(page, "firstlight_baselines_total")).toBe(0);
    expect(page.text).not.toContain("firstlight_gaps_total{");
    return families(page);
  };
  const fresh = async (
    name: string,
  ): Promise<{ slot: string; statePath: string; page: string }> => {
    const target = { slot: uniqueSlot(), statePath: folder.path(`${name}.db`) };
    await copy(client, parked, target.slot);
    return { ...target, page: await replay(target) };
  };
  const first = await fresh("first");
  const second = await fresh("second");
  expect(first.page).toContain("coderd_workspace_creation_attempts_total{");
  expect(lines(second.page)).toEqual(lines(first.page));

  const before = readLedger(first.statePath);
  // What is in flight is listed in another order once it has been read from the store.
  const loaded = await replay(first);
  expect(lines(loaded)).toEqual(lines(first.page));
  for (let again = 1; again <= 2; again += 1) {
    await rewind(client, parked, first.slot);
    expect(await replay(first)).toBe(loaded);
    const after = readLedger(first.statePath);
    expect(after.facts).toEqual(before.facts);
    expect(after.divergent).toEqual(before.divergent);
  }
  // All of history is in this slot, so a replay is as good as a baseline.
  await expectLedgerEqualsTables(client, first.statePath, simulation);
  expect(await confirmedFlush(client, parked)).toBe(from);

  // Life goes on after a replay.
  await simulation.run({ workflows: 10 });
  await using firstlight = await startInProcess({
    url: database.url,
    slot: second.slot,
    statePath: second.statePath,
  });
  const page = await firstlight.caughtUp(60_000);
  expect(page.text).not.toContain("firstlight_gaps_total{");
  await firstlight[Symbol.asyncDispose]();
  await expectLedgerEqualsTables(client, second.statePath, simulation);
});

test("a replay under other names counts under the names of today, and only what the slot still tells", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  await using simulation = openSimulation({ url: database.url, seed: 8, startAt: START_AT });
  const parked = uniqueSlot();
  await createSlot(client, parked);
  await simulation.seedDeployment();
  await simulation.run({ workflows: 20 });
  await client.query("update templates set name = name || '-renamed'");
  const slot = uniqueSlot();
  await copy(client, parked, slot);
  await using firstlight = await startInProcess({
    url: database.url,
    slot,
    env: { FIRSTLIGHT_BASELINE: "none" },
  });
  const page = await firstlight.caughtUp();
  await expectSumsEqualRecount(client, page);
  const counted = families(page)
    .split("\n")
    .filter((line) => /attempts_total.* [1-9]/.test(line));
  expect(counted.length).toBeGreaterThan(0);
  expect(counted.filter((line) => !line.includes('-renamed"'))).toEqual([]);
});
