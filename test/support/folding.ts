// Folds of facts, and their page line by line.

import type { Fact, Offered } from "../../src/derive/fact.ts";
import type { Entity } from "../../src/derive/state.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_LABELS } from "../../src/metrics/families/agents.ts";
import { partsOf } from "../../src/metrics/exposition.ts";
import { Fold } from "../../src/metrics/fold.ts";
import { must } from "../../src/errors.ts";
import type { Table, Totals } from "../../src/metrics/pages.ts";
import { AGENT_NAMES, BUILDABLE, END, START, attempted, connected, uuid } from "./rows.ts";

/** The catalog with all labels. */
export const CATALOG = createCatalog({ agentLabels: AGENT_LABELS });

/** A template of `NAMES` that can be built. */
export const OFFERED: Offered = {
  kind: "offered",
  id: uuid(7),
  at: START,
  end: END,
  names: BUILDABLE,
};

export function foldOf(facts: readonly Fact[], waiting: readonly Entity[] = []): Fold {
  const fold = new Fold(CATALOG);
  for (const fact of facts) fold.add(fact);
  for (const entity of waiting) fold.put(entity);
  return fold;
}

/** The first connection of an agent, in a workspace of this number. */
export const inWorkspace = (n: number): Fact =>
  connected({ id: uuid(n), names: { ...AGENT_NAMES, workspace: `dev-${n}-ü🚀` } });

/** So many workspaces with a histogram each. */
export function workspaces(count: number): Fold {
  return foldOf([attempted(), ...Array.from({ length: count }, (_, n) => inWorkspace(n))]);
}

/** The agents' histograms. */
export const histograms = (totals: Totals): Table =>
  must(
    totals.tables.find(({ family }) => family.name === "agents_first_connection_seconds"),
    "no histograms",
  );

/**
 * Lines of the metrics whose name begins so, without that beginning and without the organization and template of `NAMES`.
 */
export function series(totals: Totals, name: string): readonly string[] {
  return page(totals)
    .split("\n")
    .filter((line) => line.startsWith(name))
    .map((line) => line.slice(name.length))
    .map((line) => line.replace('organization_name="acme",template_name="docker",', ""));
}

/** The whole page, without a prefix unless told. */
export const page = (totals: Totals, prefix = ""): string =>
  [...partsOf(totals, prefix)]
    .flatMap(({ count, text }) => Array.from({ length: count }, (_, i) => text(i)))
    .join("");
