// SIGKILL exactly where it could hurt: between committing, showing and acknowledging. What is durable at that moment, and
// what the slot was told, is looked at before anything is started again.

import { expect, test } from "vitest";
import type pg from "pg";
import type { CrashPoint } from "../../src/pipeline/follow.ts";
import { type Simulation, openSimulation } from "../../src/demo/coder/simulation.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { publish, startInProcess, uniqueSlot } from "../support/firstlight.ts";
import { readLedger } from "../support/ledger.ts";
import { temporaryFolder } from "./support/folder.ts";
import { confirmedFlush } from "./support/slots.ts";
import { storedEnd } from "./support/stored.ts";
import { type Target, spawnServe } from "./support/victim.ts";

const DIE = new URL("./support/serve-and-die.ts", import.meta.url).pathname;
/** 2026-08-21, so that no test depends on today. */
const START_AT = 1_787_300_000_000_000;

/** A burst brings all that was written since the last one as one batch, so work must go on until it dies. */
const MORE_THAN_ENOUGH = 200;

const POINTS: readonly CrashPoint[] = [
  "before commit",
  "after commit, before show",
  "after show, before acknowledge",
];

for (const point of POINTS) {
  for (const batch of [1, 7]) {
    test(`killed ${point}, at batch ${batch} with facts: nothing is missing, nothing is there twice`, async () => {
      await using database = await createDatabase();
      await using folder = await temporaryFolder();
      const client = await database.client();
      await publish(client);
      await using simulation = openSimulation({
        url: database.url,
        seed: batch * 10 + POINTS.indexOf(point),
        startAt: START_AT,
      });
      await simulation.seedDeployment();
      await simulation.run({ workflows: 15 });
      const target = {
        url: database.url,
        slot: uniqueSlot(),
        statePath: folder.path("firstlight.db"),
      };
      // The baseline, so that the batches that are counted are those of the stream.
      await expectExact({ client, target, simulation });

      const before = await standing(client, target);
      await diesUnderLoad(target, { simulation, point, batch });
      const after = await standing(client, target);
      expect(after.latestFact).toBeLessThanOrEqual(after.end);
      if (point === "before commit") {
        // Of the batch nothing is there; whatever came before it is.
        if (batch === 1) expect(after.facts).toBe(before.facts);
      } else {
        expect(after.facts).toBeGreaterThan(before.facts);
        expect(after.confirmed, "what is durable was not acknowledged yet").toBeLessThan(after.end);
      }
      expect(after.confirmed).toBeLessThanOrEqual(after.end);

      // Twice: where it died, and after it has lived on.
      await expectExact({ client, target, simulation });
      await simulation.run({ workflows: 15 });
      await expectExact({ client, target, simulation });
    });
  }
}

/** Starts it, works until it has died, and finishes the transactions that are open then. */
async function diesUnderLoad(
  target: Target,
  {
    simulation,
    point,
    batch,
  }: { readonly simulation: Simulation; readonly point: CrashPoint; readonly batch: number },
): Promise<void> {
  await using victim = spawnServe(target, {
    script: DIE,
    env: { CRASH_POINT: point, CRASH_AT: String(batch) },
  });
  const died = new AbortController();
  const ended = victim.ended.finally(() => died.abort(new Error("the victim has died")));
  const working = work(simulation, died.signal).then(
    () => "the load ended first",
    (error: unknown) => (died.signal.aborted ? "died" : Promise.reject(error)),
  );
  expect(await Promise.race([ended, working]), victim.log.join("\n")).toBe("SIGKILL");
  expect(await working).toBe("died");
}

async function work(simulation: Simulation, signal: AbortSignal): Promise<void> {
  for (let round = 0; round < MORE_THAN_ENOUGH; round += 1)
    await simulation.run({ workflows: 10, signal });
}

/** What the dead process left: in its store, and at the server. */
async function standing(
  client: pg.Client,
  { slot, statePath }: Target,
): Promise<{ facts: number; latestFact: bigint; end: bigint; confirmed: bigint }> {
  const { facts } = readLedger(statePath);
  return {
    facts: facts.length,
    latestFact: facts.reduce((latest, { end }) => (end > latest ? end : latest), 0n),
    end: storedEnd(statePath),
    confirmed: await confirmedFlush(client, slot),
  };
}

/** A normal process catches up: totals and ledger equal the tables and the simulation's own tally. */
async function expectExact(options: {
  readonly client: pg.Client;
  readonly target: Target;
  readonly simulation: Simulation;
}): Promise<void> {
  {
    await using firstlight = await startInProcess(options.target);
    await expectSumsEqualRecount(options.client, await firstlight.caughtUp());
  }
  await expectLedgerEqualsTables(options.client, options.target.statePath, options.simulation);
}
