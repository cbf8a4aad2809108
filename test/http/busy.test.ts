// Searches for `/api/facts` are no burden on others: one at a time, in slices, and only while somebody waits for them.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { Store } from "../../src/store/store.ts";
import { type Facts, factsOf } from "../support/facts.ts";
import { CATALOG, foldOf } from "../support/folding.ts";
import { after, ended, uuid } from "../support/rows.ts";
import { serving } from "../support/serving.ts";
import { longestSlice } from "../support/slices.ts";
import { write } from "../support/storing.ts";

const TOTALS = foldOf([]).publish();

/** Searches that go on until they are let go, and tell of themselves. */
function slowFacts(): Facts & { readonly running: Set<number>; letGo: boolean; begun: number } {
  const running = new Set<number>();
  const facts = {
    running,
    letGo: false,
    begun: 0,
    coderUrl: null,
    *search(): ReturnType<Facts["search"]> {
      const number = (facts.begun += 1);
      running.add(number);
      try {
        while (!facts.letGo) yield;
        return { upTo: null, facts: [], more: false };
      } finally {
        running.delete(number);
      }
    },
  };
  return facts;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

describe("several at once", () => {
  test("wait for their turn, so many that one more is told to come back", async () => {
    const facts = slowFacts();
    await using app = await serving(TOTALS, facts);
    // One has its turn and eight may wait.
    const asking = Array.from({ length: 10 }, () => app.get("/api/facts"));
    const refused = await Promise.race(asking);
    expect(refused).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
    expect(JSON.parse(refused.body)).toEqual({
      error: "too many searches are waiting",
      hint: "ask again in a moment",
    });
    expect([facts.running.size, facts.begun]).toEqual([1, 1]);
    facts.letGo = true;
    const statuses = (await Promise.all(asking)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(9);
    expect(facts.begun).toBe(9);
    expect((await app.get("/api/facts")).status).toBe(200);
  });

  test("a client that goes away ends its search, and one that waits never begins it", async () => {
    const facts = slowFacts();
    await using app = await serving(TOTALS, facts);
    const leaving = new AbortController();
    const url = `http://127.0.0.1:${app.port}/api/facts`;
    const first = fetch(url, { signal: leaving.signal });
    await until(() => facts.begun === 1);
    const second = fetch(url, { signal: leaving.signal });
    // It has arrived and waits: another round trip on the same server has come after it.
    await app.get("/livez");
    leaving.abort();
    await expect(first).rejects.toThrow(/abort/i);
    await expect(second).rejects.toThrow(/abort/i);
    await until(() => facts.running.size === 0);
    facts.letGo = true;
    expect((await app.get("/api/facts")).status).toBe(200);
    expect(facts.begun).toBe(2);
    expect(app.logged).toEqual([]);
  });
});

/** In microseconds. */
const longest = async (of: Facts, query: string): Promise<number> => {
  const rounds: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    await using app = await serving(TOTALS, of);
    rounds.push(await longestSlice(() => app.get(`/api/facts${query}`)));
  }
  // The client runs in this thread, too, and now and then a garbage collection: the best round says what is ours.
  return Math.min(...rounds);
};

test("others run while a large ledger is searched", async () => {
  const many = Array.from({ length: 60_000 }, (_, n) =>
    ended({ id: uuid(n), at: after((n * 7_919) % 60_000) }),
  );
  const folder = mkdtempSync(join(tmpdir(), "firstlight-facts-"));
  const path = join(folder, "firstlight.db");
  using store = Store.open({ path, catalog: CATALOG });
  write(store, { facts: many });
  const facts = factsOf(path);
  const atOnce: Facts = {
    ...facts,
    *search(question) {
      const steps = facts.search(question);
      let step = steps.next();
      while (!step.done) step = steps.next();
      yield;
      return step.value;
    },
  };
  for (const query of ["?limit=100", "?since=2027-01-01"])
    expect(await longest(facts, query)).toBeLessThan((await longest(atOnce, query)) / 2);
  rmSync(folder, { recursive: true, force: true });
}, 60_000);
