// The totals in the store are a cache of its ledger: kept at every commit, and made again when the labels change.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { afterAll, beforeEach, expect, test } from "vitest";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../src/metrics/families/agents.ts";
import { refold } from "../../src/store/load.ts";
import { Store } from "../../src/store/store.ts";
import { CATALOG, series } from "../support/folding.ts";
import { MemoryState, sortedPage } from "../support/memory-state.ts";
import { AGENT_NAMES, attempted, connected, pendingAgent, uuid } from "../support/rows.ts";
import { stories } from "../support/stories.ts";
import { POSITION, write } from "../support/storing.ts";

const root = mkdtempSync(join(tmpdir(), "firstlight-fold-"));
let path = "";
let count = 0;
beforeEach(() => {
  path = join(root, `${(count += 1)}.db`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function open(catalog = CATALOG): Store {
  const store = Store.open({ path, catalog });
  store.load();
  return store;
}

const ids = (facts: Iterable<{ kind: string; id: string }>): string[] =>
  [...facts].map(({ kind, id }) => `${kind} ${id}`).sort();

test("equals the fold of the ledger and a ledger in memory, over random histories", () => {
  fc.assert(
    fc.property(stories({ rewrites: true }), (told) => {
      path = join(root, `${(count += 1)}.db`);
      const memory = new MemoryState(CATALOG);
      using store = open();
      for (const { events } of told) {
        const batch = memory.stage(events);
        memory.commit(batch);
        using transaction = store.begin();
        transaction.add(batch);
        transaction.commit(POSITION);
      }
      const page = sortedPage(memory.publish());
      expect(sortedPage(store.load().totals)).toEqual(page);
      expect(sortedPage(refold(CATALOG, store.ledger).publish())).toEqual(page);
      expect(ids(store.ledger.entities())).toEqual(ids(memory.entities()));
    }),
    { numRuns: 15 },
  );
});

test("other agent labels fold the same facts again, and back, without asking anything", () => {
  const alice = connected();
  const bob = connected({ id: uuid(6), names: { ...AGENT_NAMES, username: "bob" } });
  let page: readonly string[];
  {
    using store = open();
    page = sortedPage(
      write(store, { facts: [attempted(), alice, bob], put: [pendingAgent({ id: uuid(40) })] })
        .totals,
    );
  }
  {
    using store = open(createCatalog({ agentLabels: ["template_name"] }));
    const { totals, position } = store.load();
    expect(series(totals, "agents_first_connection_seconds_count")).toEqual([
      '{template_name="docker"} 2',
    ]);
    expect(series(totals, "workspace_creation_attempts_total")).toEqual([
      '{preset_name="large"} 1',
    ]);
    expect(position).toEqual(POSITION);
  }
  using store = open(createCatalog({ agentLabels: AGENT_LABELS }));
  expect(sortedPage(store.load().totals)).toEqual(page);
});

test("is kept up to date in the file at every commit", () => {
  {
    using store = open();
    write(store, { facts: [attempted()] });
    write(store, { facts: [attempted({ id: uuid(2) })] });
  }
  using db = new DatabaseSync(path, { readOnly: true });
  const [row] = db
    .prepare("select value from series where family = 'workspace_creation_attempts_total'")
    .all();
  const value = Uint8Array.from(row?.["value"] as Uint8Array);
  expect([...new Float64Array(value.buffer)]).toEqual([2]);
});
