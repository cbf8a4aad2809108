// A store with a series for each workspace, filled through the store's own interface: attempted, ended and connected for each.

import { randomUUID } from "node:crypto";
import type { Fact } from "../../../../src/derive/fact.ts";
import { createCatalog } from "../../../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../../../src/metrics/families/agents.ts";
import { Store } from "../../../../src/store/store.ts";
import { attempted, connected, ended } from "../../../support/rows.ts";
import { write } from "../../../support/storing.ts";
import { workspaceOf } from "../scrape/data.ts";

export const FACTS_PER_WORKSPACE = 3;
const MICROS_PER_MS = 1_000;
const WORKSPACES_PER_WRITE = 2_000;

export function open(path: string): Store {
  return Store.open({ path, catalog: createCatalog({ agentLabels: AGENT_LABELS }) });
}

/** Ids are random, as Coder's are: neighbours in time are none in the ledger. */
export function factsOf(n: number): readonly Fact[] {
  const { connections, ...labels } = workspaceOf(n);
  const names = { organization: "acme", preset: "", ...labels };
  const { organization, preset, template } = names;
  const build = { organization, preset, template, version: "v1" };
  return [
    attempted({ id: randomUUID(), names: build }),
    ended({ id: randomUUID(), names: build }),
    connected({ id: randomUUID(), took: (connections[0] ?? 0) * MICROS_PER_MS, names }),
  ];
}

/** Fills a new store, and lets others run now and then. */
export async function fill(path: string, workspaces: number, signal: AbortSignal): Promise<void> {
  using store = open(path);
  store.load();
  for (let first = 0; first < workspaces; first += WORKSPACES_PER_WRITE) {
    const count = Math.min(WORKSPACES_PER_WRITE, workspaces - first);
    write(store, { facts: Array.from({ length: count }, (_, i) => factsOf(first + i)).flat() });
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
  }
}
