// Immutable pages, and the fold as a cache that can always be made again.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Fact } from "../../src/derive/fact.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { Fold } from "../../src/metrics/fold.ts";
import { PAGE_SIZE, type Page, type Totals } from "../../src/metrics/pages.ts";
import { facts } from "../support/random-facts.ts";
import { CATALOG, foldOf, histograms, page, series } from "../support/folding.ts";
import { sortedPage } from "../support/memory-state.ts";
import {
  AGENT_NAMES,
  NAMES,
  attempted,
  connected,
  ended,
  pendingBuild,
  uuid,
} from "../support/rows.ts";

const histogramPages = (totals: Totals): readonly Page[] => histograms(totals).pages;

describe("pages", () => {
  const many = Array.from({ length: PAGE_SIZE * 2 + 10 }, (_, n) =>
    connected({ id: uuid(n), names: { ...AGENT_NAMES, workspace: `dev-${n}` } }),
  );

  test("more series than one page holds are all shown, each once", () => {
    const lines = series(foldOf(many).publish(), "agents_first_connection_seconds_count");
    expect(lines).toHaveLength(many.length);
    expect(new Set(lines).size).toBe(many.length);
    expect(lines.every((line) => line.endsWith(" 1"))).toBe(true);
  });

  test("a root that was published never changes, whatever is added later", () => {
    const fold = foldOf([attempted(), ...many], [pendingBuild()]);
    const root = fold.publish();
    const before = page(root);
    for (const fact of many) fold.add(fact);
    for (let n = 0; n < PAGE_SIZE; n += 1)
      fold.add(attempted({ id: uuid(n), names: { ...NAMES, preset: `p${n}` } }));
    fold.add(ended({ status: "failure", stage: "queue", errorCode: "NEW" }));
    fold.drop(pendingBuild());
    expect(page(root), "before the next publish").toBe(before);
    expect(page(fold.publish())).not.toBe(before);
    expect(page(root), "after the next publish").toBe(before);
  });

  test("a publish copies the pages that changed and shares the others", () => {
    const fold = foldOf(many);
    const before = histogramPages(fold.publish());
    fold.add(many[PAGE_SIZE] as Fact);
    const now = histogramPages(fold.publish());
    expect(now.map((each, n) => each === before[n])).toEqual([true, false, true]);
  });

  test("what was touched since the last publish is what the store must keep", () => {
    const fold = foldOf([attempted()]);
    expect([...fold.touched()].map(({ family }) => family)).toContain("dropped_samples_total");
    fold.publish();
    expect([...fold.touched()]).toEqual([]);
    fold.add(ended());
    expect([...fold.touched()]).toEqual([
      {
        family: "workspace_creation_outcomes_total",
        labels: '["acme","docker","large","success"]',
        values: Float64Array.of(1),
      },
    ]);
  });
});

test("of gauges only the birth is stored: their numbers follow from what is in flight", () => {
  const fold = foldOf([attempted()], [pendingBuild()]);
  const gauges = [...fold.touched()].filter(({ family }) => family.includes("in_flight"));
  expect(gauges.map(({ values }) => values.length)).toEqual([0, 0]);
  fold.publish();
  fold.put(pendingBuild({ id: uuid(30) }));
  fold.drop(pendingBuild());
  expect([...fold.touched()]).toEqual([]);
});

describe("the fold is a cache of the ledger", () => {
  test("facts in any order give the same totals", () => {
    const shuffled = facts.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
    );
    fc.assert(
      fc.property(shuffled, ([list, other]) => {
        expect(sortedPage(foldOf(other).publish())).toEqual(sortedPage(foldOf(list).publish()));
      }),
      { numRuns: 200 },
    );
  });

  test("stored series restored give the same totals, and go on alike", () => {
    fc.assert(
      fc.property(facts, facts, (list, more) => {
        const fold = foldOf(list);
        const restored = new Fold(CATALOG);
        for (const stored of fold.touched()) restored.restore(stored);
        expect(sortedPage(restored.publish())).toEqual(sortedPage(fold.publish()));
        for (const fact of more) {
          fold.add(fact);
          restored.add(fact);
        }
        expect(sortedPage(restored.publish())).toEqual(sortedPage(fold.publish()));
      }),
      { numRuns: 200 },
    );
  });

  test("a stored series of a family that is no more is left alone", () => {
    const fold = new Fold(CATALOG);
    fold.restore({ family: "of_another_release", labels: '["x"]', values: Float64Array.of(5) });
    expect(page(fold.publish())).toBe(page(new Fold(CATALOG).publish()));
  });

  test("fewer agent labels fold the same facts into fewer series", () => {
    const fold = new Fold(createCatalog({ agentLabels: ["template_name"] }));
    fold.add(connected());
    fold.add(connected({ id: uuid(6), names: { ...AGENT_NAMES, agent: "other" } }));
    expect(series(fold.publish(), "agents_first_connection_seconds_count")).toEqual([
      '{template_name="docker"} 2',
    ]);
  });
});
