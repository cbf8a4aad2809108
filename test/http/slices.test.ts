// Others run while a page is rendered, compressed and sent.

import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { histograms, page, workspaces } from "../support/folding.ts";
import { longestSlice } from "../support/slices.ts";
import { serving } from "../support/serving.ts";

const GZIP = { headers: { "Accept-Encoding": "gzip" } };

test("one chunk at most is rendered in a turn of the event loop, also where the kernel would take more", async () => {
  const shown = workspaces(1_000).publish();
  const table = histograms(shown);
  let turns = 0;
  const seriesByTurn = new Map<number, number>();
  const labels = new Proxy(table.labels as string[], {
    get: (list, key) => {
      if (typeof key === "string" && /^\d+$/.test(key))
        seriesByTurn.set(turns, (seriesByTurn.get(turns) ?? 0) + 1);
      return Reflect.get(list, key);
    },
  });
  await using app = await serving({ tables: [{ ...table, labels }] });
  for (const asking of [{ headers: {} }, GZIP]) {
    seriesByTurn.clear();
    const running = { now: true };
    const scraped = app.get("/metrics", asking).finally(() => (running.now = false));
    for (; running.now; turns += 1) await turn();
    await scraped;
    const textOfSeries = page(shown).length / 1_000;
    // The last that did not fit is rendered, too.
    expect(Math.max(...seriesByTurn.values())).toBeLessThan(262_144 / textOfSeries + 2);
    expect(seriesByTurn.size).toBeGreaterThan(5);
  }
});

test("others run while a large page is rendered and compressed", async () => {
  const shown = workspaces(20_000).publish();
  const whole = await longestSlice(async () => page(shown));
  for (const asking of [{ headers: {} }, GZIP]) {
    const longest: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      // Nothing is kept from the round before.
      await using app = await serving(shown);
      const scrape = async (): Promise<unknown> => {
        const message = await app.open("/metrics", asking);
        return once(message.resume(), "end");
      };
      longest.push(await longestSlice(scrape));
    }
    // The client runs in this thread, too, and now and then a garbage collection: the best round says what is ours.
    expect(Math.min(...longest)).toBeLessThan(whole / 5);
  }
}, 60_000);
