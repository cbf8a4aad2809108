// What agents carry of the time to first light: as it was written, and filled in where an older version did not write it.

import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { Store } from "../../src/store/store.ts";
import { temporaryFolder } from "../crash/support/folder.ts";
import { CATALOG, series } from "../support/folding.ts";
import {
  LIGHT,
  TRAITS,
  WORKSPACE,
  after,
  connected,
  ended,
  pendingAgent,
  uuid,
} from "../support/rows.ts";
import { POSITION, staged, write } from "../support/storing.ts";

const CLAIM = { ...LIGHT, queued: -3, traits: { ...TRAITS, initial: false, claimed: "large" } };
const without = connected({ id: uuid(50) });
const lit = connected({ id: uuid(51), at: after(37), took: 7 * SECOND, light: LIGHT });
const claimed = connected({ id: uuid(52), light: CLAIM });
const waits = pendingAgent({ id: uuid(53), light: CLAIM });
const waitsWithout = pendingAgent({ id: uuid(54) });

function open(path: string): Store {
  const store = Store.open({ path, catalog: CATALOG });
  store.load();
  return store;
}

const byId = (a: { id: string }, b: { id: string }): number => a.id.localeCompare(b.id);

test("facts and what waits come back as they were written", async () => {
  await using folder = await temporaryFolder();
  using store = open(folder.path("light.db"));
  const facts = [without, lit, claimed];
  write(store, { facts, put: [waits, waitsWithout] });
  store.load();
  expect([...store.ledger.facts()].sort(byId)).toEqual(facts);
  expect([...store.ledger.entities()].sort(byId)).toEqual([waits, waitsWithout]);
  expect(store.ledger.state.pendingAgent(waits.id)).toEqual(waits);
});

test("what the build of a job was, once its end is counted: also in what is not committed, and not after a roll-back", async () => {
  await using folder = await temporaryFolder();
  using store = open(folder.path("light.db"));
  const stop = { ...TRAITS, transition: "stop" };
  {
    using transaction = store.begin();
    transaction.add(staged(store, { facts: [ended({ traits: stop })] }));
    expect(store.ledger.state.endedAs(uuid(3))).toEqual({ traits: stop, workspace: WORKSPACE.id });
  }
  store.load();
  expect(store.ledger.state.endedAs(uuid(3))).toBeUndefined();
  write(store, { facts: [ended(), ended({ id: uuid(30), traits: CLAIM.traits })] });
  expect(store.ledger.state.endedAs(uuid(3))).toEqual({ traits: TRAITS, workspace: WORKSPACE.id });
  expect(store.ledger.state.endedAs(uuid(30))).toMatchObject({ traits: CLAIM.traits });
  // An attempt of this id is no end.
  expect(store.ledger.state.endedAs(uuid(1))).toBeUndefined();
});

test("an older ledger is filled in, connections and what waits, and folded again; what it has stays", async () => {
  await using folder = await temporaryFolder();
  const path = folder.path("light.db");
  {
    using store = open(path);
    write(store, { facts: [without, lit, claimed], put: [waits, waitsWithout] });
  }
  const db = new DatabaseSync(path);
  db.exec(
    `update fact set traits = null, queued = null, provisioned = null, completed = null where id = x'${hex(lit.id)}';
     update entity set traits = null, queued = null, provisioned = null, completed = null;
     delete from meta where key = 'catalog'; insert into meta values ('lacks', 'workspaces')`,
  );
  db.close();
  using store = open(path);
  const samples = (): readonly string[] =>
    series(store.load().totals, "firstlight_time_to_first_light_seconds_count").filter(
      (line) => !line.endsWith(" 0"),
    );
  expect(samples()).toEqual([]);
  using transaction = store.begin();
  const told = [
    without,
    lit,
    { ...claimed, light: LIGHT },
    connected({ id: uuid(99), light: LIGHT }),
  ];
  transaction.complete(staged(store, { facts: told, put: [waits, waitsWithout] }));
  transaction.commit(POSITION);
  expect([...store.ledger.facts()].sort(byId)).toEqual([without, lit, claimed]);
  expect([...store.ledger.entities()].sort(byId)).toEqual([waits, waitsWithout]);
  expect(samples()).toHaveLength(4);
});

const hex = (id: string): string => id.replaceAll("-", "");
