// SIGKILL at a hundred random moments, under load and under the eyes of a scraper. Whatever a kill can reach is reached:
// boot, baseline, the checks, catching up, following.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Random } from "../../src/demo/coder/random.ts";
import { type Simulation, openSimulation } from "../../src/demo/coder/simulation.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import type { StoredSeries } from "../../src/metrics/fold.ts";
import { refold } from "../../src/store/load.ts";
import { Store } from "../../src/store/store.ts";
import { createDatabase } from "../support/database.ts";
import { expectLedgerEqualsTables, expectSumsEqualRecount } from "../support/exact.ts";
import { publish, startProcess, uniqueSlot, until } from "../support/firstlight.ts";
import { told } from "../support/ledger.ts";
import { temporaryFolder } from "./support/folder.ts";
import { report } from "./support/report.ts";
import { startScraper } from "./support/scraper.ts";
import { type Victim, quickBoot, spawnServe } from "./support/victim.ts";

const KILLS = Number(process.env["FIRSTLIGHT_TEST_KILLS"] ?? 100);
const SEED = Number(process.env["FIRSTLIGHT_TEST_SEED"] ?? 1);
/** Simulated seconds per second: about seven workflows and two hundred heartbeats a second. */
const SPEED = 40;
/** Newer Coder's labels: with a series per agent the page would grow by megabytes, and take the time from the kills. */
const AGENT_LABELS = ["template_name", "agent_name"] as const;
const DAY_MS = 86_400_000;
/** The first lives end early, so that the baseline is killed, too. */
const EARLY_LIVES = 5;
const LONGEST_LIFE_MS = 6_000;

test(
  `totals are exact after ${KILLS} random kills under load, and no scrape ever went back`,
  { timeout: 60_000 + KILLS * 4_000 },
  async () => {
    await using database = await createDatabase();
    await using folder = await temporaryFolder();
    const client = await database.client();
    await publish(client);
    const target = {
      url: database.url,
      slot: uniqueSlot(),
      statePath: folder.path("firstlight.db"),
    };
    await using simulation = openSimulation({
      url: database.url,
      seed: SEED,
      startAt: (Date.now() - DAY_MS) * 1000,
    });
    await simulation.seedDeployment();
    await simulation.run({ workflows: 100 });

    const env = {
      ...(await quickBoot(folder.path("compiled"))),
      FIRSTLIGHT_AGENT_LABELS: AGENT_LABELS.join(),
    };
    const random = new Random(SEED);
    await using load = startLoad(simulation);
    let alive: { readonly port: number | null } = { port: null };
    let killedBeforeTotals = 0;
    let retries = 0;
    const began = Date.now();
    {
      await using scraper = startScraper(() => alive.port);
      for (let kill = 1; kill <= KILLS; kill += 1) {
        scraper.restart();
        await using victim = spawnServe(target, { env });
        alive = victim;
        await killMoment(victim, {
          random,
          early: kill <= EARLY_LIVES,
          shown: () => scraper.withTotalsSince > 0,
        });
        if (scraper.withTotalsSince === 0) killedBeforeTotals += 1;
        retries += victim.log.filter((line) => line.includes("not following")).length;
        await victim.kill();
        expect(await victim.ended, victim.log.join("\n")).toBe("SIGKILL");
      }
      await using last = await startProcess({ ...target, env });
      alive = last;
      await load.stop();
      await simulation.run({ workflows: 0 });
      const page = await last.caughtUp();
      await expectSumsEqualRecount(client, page);
      expect(await last.terminate()).toBe(0);
      expectFoldEqualsLedger(target.statePath);
      await expectLedgerEqualsTables(client, target.statePath, simulation);

      report("random kills", {
        kills: KILLS,
        "before totals were shown": killedBeforeTotals,
        "tries to follow again": retries,
        seconds: Math.round((Date.now() - began) / 1000),
        scrapes: scraper.tried,
        answered: scraper.answered,
        "with totals": scraper.withTotals,
        "of answered": share(scraper.withTotals, scraper.answered),
        "of all": share(scraper.withTotals, scraper.tried),
      });
      expect(scraper.wrong).toEqual([]);
      if (KILLS < 100) return; // a short run while working on something looks less often
      // Each life that outlasts its boot was seen with totals (`killMoment` waits for them); how often beyond that is a matter of
      // how fast this machine boots a process, which is reported and not asserted.
      expect(scraper.withTotals).toBeGreaterThanOrEqual(1_000);
    }
  },
);

interface Load extends AsyncDisposable {
  /** Ends what has begun, and no more. */
  stop(): Promise<void>;
}

function startLoad(simulation: Simulation): Load {
  const enough = new AbortController();
  const running = simulation.pace({ speed: SPEED, signal: enough.signal });
  running.catch(() => undefined); // whoever stops it hears of it
  const stop = async (): Promise<void> => {
    enough.abort();
    await running;
  };
  return { stop, [Symbol.asyncDispose]: stop };
}

/**
 * Waits until it is time to kill: up to 0.5 s after the start (boot, baseline, checks), or some time after totals are first
 * shown: every third within 0.7 s (catching up), 2 s in the mean.
 */
async function killMoment(
  victim: Victim,
  options: { readonly random: Random; readonly early: boolean; readonly shown: () => boolean },
): Promise<void> {
  const { random } = options;
  if (options.early || random.chance(0.1)) {
    await sleep(random.between(20, 500));
    return;
  }
  const after = LONGEST_LIFE_MS * random.fraction() ** 2;
  await until(`totals are shown\n${victim.log.join("\n")}`, options.shown);
  await sleep(after);
}

/** Hundreds of processes have added to the series; one fold of the whole ledger gives the same. */
function expectFoldEqualsLedger(path: string): void {
  const catalog = createCatalog({ agentLabels: AGENT_LABELS });
  using store = Store.open({ path, catalog });
  const stored = asTotals(store.ledger.storedSeries()); // before `load`, which would fold again if it had other labels
  store.load();
  expect(stored).toEqual(asTotals(refold(catalog, store.ledger).touched()));
}

const asTotals = (series: Iterable<StoredSeries>): object => Object.fromEntries(told(series));

function share(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)} %`;
}
