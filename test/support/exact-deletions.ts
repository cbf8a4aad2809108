// Deletions by id, and what is shown once series retire.

import { DatabaseSync } from "node:sqlite";
import { expect } from "vitest";
import { bytesToId } from "../../src/store/codec.ts";
import { Store } from "../../src/store/store.ts";
import { CATALOG, type Ledger } from "./ledger.ts";
import type { RecountById } from "./recount.ts";
import { Told, isByName, isOfHidden } from "./retiring.ts";
import type { Scrape } from "./scrape.ts";

/** Equal, except for exactly the ids that the ledger lists as divergent. */
export function expectDeletionsEqualTables(
  ledger: Ledger,
  { deletes }: Pick<RecountById, "deletes">,
): void {
  expect([...ledger.deleted.keys()].sort()).toEqual([...deletes.keys()].sort());
  for (const [id, all] of deletes) {
    const fact = ledger.deleted.get(id);
    const same = all.some(
      ({ number, completedAt }) => fact?.number === number && fact.at === completedAt,
    );
    expect(same || ledger.divergent.has(`deleted ${id}`), `deletion of ${id}`).toBe(true);
  }
}

/** What a store's file says of retirement. */
interface Retirement {
  /** Null: nothing is retired. */
  readonly upTo: number | null;
  /** Series that are kept and not shown. */
  readonly hidden: number;
  readonly leftOut: readonly string[];
}

export function retirementOf(path: string): Retirement {
  using db = new DatabaseSync(path, { readOnly: true });
  const told = db.prepare("select value from meta where key = 'retired_up_to'").get()?.["value"];
  const upTo = Number(told);
  return {
    upTo: Number.isFinite(upTo) ? upTo : null,
    hidden: Number(db.prepare("select count(*) as n from retired").get()?.["n"]),
    leftOut: db
      .prepare("select id from gone")
      .all()
      .map(({ id }) => bytesToId(id)),
  };
}

const isAbout = (line: string): boolean => isByName(line) || isOfHidden(line);

/** Families whose labels name workspaces: what was shown last is what follows from the ledger. The process must have ended. */
export function expectShownByName(statePath: string, { text }: Scrape): void {
  const told = new Told();
  const { upTo, leftOut } = retirementOf(statePath);
  told.upTo = upTo;
  for (const id of leftOut) told.leftOut.add(id);
  {
    using store = Store.open({
      path: statePath,
      catalog: CATALOG,
      retireUpTo: () => Number.MIN_SAFE_INTEGER,
    });
    store.load();
    for (const fact of store.ledger.facts()) told.add(fact);
    told.waiting.push(...store.ledger.entities());
    for (const { kind, id, reason, seen } of store.ledger.divergent()) {
      const at = seen === null ? null : (JSON.parse(seen) as { at: number | null }).at;
      if (kind === "deleted" && (reason === "vanished" || at === null)) told.doubted.add(id);
    }
  }
  expect(text.split("\n").filter(isAbout).sort()).toEqual(told.page.filter(isAbout));
}
