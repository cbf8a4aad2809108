// A scraper that never stops and never trusts: it compares each page that carries totals with the one before.

import { setTimeout as sleep } from "node:timers/promises";
import { type Scrape, parseScrape, regressions, unbalanced } from "../../support/scrape.ts";

const EVERY_MS = 40;
/** A page takes milliseconds; a process that was killed may leave a scrape hanging. */
const GIVE_UP_MS = 2_000;

export interface Scraper extends AsyncDisposable {
  /** Tried, whether or not a process was there. */
  readonly tried: number;
  /** Answered by a process that listened. */
  readonly answered: number;
  readonly withTotals: number;
  /** Everything that must not happen; empty, or the test has failed. */
  readonly wrong: readonly string[];
  /** Pages with totals since `restart` was called last. */
  readonly withTotalsSince: number;
  restart(): void;
}

/** Scrapes every 40 ms until disposed. `port` is null while nobody listens. */
export function startScraper(port: () => number | null): Scraper {
  const done = new AbortController();
  const counts = { tried: 0, answered: 0, withTotals: 0, withTotalsSince: 0 };
  const wrong: string[] = [];
  let last: Scrape | undefined;
  const look = (page: Scrape): void => {
    counts.answered += 1;
    if (!page.hasTotals) return;
    counts.withTotals += 1;
    counts.withTotalsSince += 1;
    wrong.push(...unbalanced(page).map((labels) => `unbalanced: ${labels}`));
    if (last) wrong.push(...regressions(last, page));
    last = page;
  };
  const loop = async (): Promise<void> => {
    while (!done.signal.aborted) {
      const next = sleep(EVERY_MS);
      counts.tried += 1;
      const page = await scrape(port());
      if (page) look(page);
      await next;
    }
  };
  const running = loop();
  return {
    get tried() {
      return counts.tried;
    },
    get answered() {
      return counts.answered;
    },
    get withTotals() {
      return counts.withTotals;
    },
    get withTotalsSince() {
      return counts.withTotalsSince;
    },
    wrong,
    restart() {
      counts.withTotalsSince = 0;
    },
    async [Symbol.asyncDispose]() {
      done.abort();
      await running;
    },
  };
}

/** Null where nobody answered to the end. */
async function scrape(port: number | null): Promise<Scrape | null> {
  if (port === null) return null;
  try {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`, {
      signal: AbortSignal.timeout(GIVE_UP_MS),
    });
    return parseScrape(await response.text());
  } catch {
    return null;
  }
}
