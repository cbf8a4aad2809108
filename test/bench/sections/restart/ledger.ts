// What the ledger costs: on disk, and per fact that is new or known, by how many come in one commit.

import { statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { Fact } from "../../../../src/derive/fact.ts";
import type { Store } from "../../../../src/store/store.ts";
import { write } from "../../../support/storing.ts";
import { median } from "../../support/stats.ts";
import { FACTS_PER_WORKSPACE, factsOf } from "./filling.ts";

/** Bytes on disk, by what they are for. */
export interface Disk {
  readonly file: number;
  /** Facts, names and endings, with their indexes. */
  readonly ledger: number;
  /** The cached fold. */
  readonly series: number;
}

export function diskOf(path: string): Disk {
  using db = new DatabaseSync(path, { readOnly: true });
  const sizeOf = (like: string): number =>
    Number(
      db.prepare("select sum(pgsize) as bytes from dbstat where name like ?").get(like)?.[
        "bytes"
      ] ?? 0,
    );
  return {
    file: statSync(path).size,
    ledger: sizeOf("%fact%") + sizeOf("%names%") + sizeOf("%ending%"),
    series: sizeOf("%series%"),
  };
}

export interface PerFact {
  readonly batch: number;
  /** Microseconds for each fact, commit and fsync included: by the clock, and CPU. Medians. */
  readonly fresh: Cost;
  readonly known: Cost;
}

export interface Cost {
  readonly wall: number;
  readonly cpu: number;
}

const COMMITS = 15;

/** Facts of workspaces that the store has, written and then written again. */
export function costPerFact(store: Store, workspaces: number, batch: number): PerFact {
  const fresh: Cost[] = [];
  const known: Cost[] = [];
  for (let commit = 0; commit < COMMITS; commit += 1) {
    const facts = Array.from({ length: Math.ceil(batch / FACTS_PER_WORKSPACE) }, (_, i) =>
      factsOf((commit * 7_919 + i * 104_729) % workspaces),
    )
      .flat()
      .slice(-batch);
    fresh.push(timed(store, facts, facts.length));
    known.push(timed(store, facts, 0));
  }
  return { batch, fresh: middle(fresh), known: middle(known) };
}

function timed(store: Store, facts: readonly Fact[], expected: number): Cost {
  const used = process.threadCpuUsage();
  const began = performance.now();
  const { accepted } = write(store, { facts });
  const wall = ((performance.now() - began) * 1_000) / facts.length;
  const { user, system } = process.threadCpuUsage(used);
  if (accepted.length !== expected) throw new Error("the ledger counts otherwise");
  return { wall, cpu: (user + system) / facts.length };
}

function middle(costs: readonly Cost[]): Cost {
  return {
    wall: median(costs.map(({ wall }) => wall)),
    cpu: median(costs.map(({ cpu }) => cpu)),
  };
}
