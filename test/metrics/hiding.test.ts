// Series that are taken out and come back: in the fold, what readers hold, and what the store must keep.

import { describe, expect, test } from "vitest";
import type { Fact } from "../../src/derive/fact.ts";
import { Fold } from "../../src/metrics/fold.ts";
import { type HiddenSeries, NO_RETIREMENT } from "../../src/metrics/hiding.ts";
import { CATALOG, foldOf, histograms, inWorkspace, page, series } from "../support/folding.ts";
import { sortedPage } from "../support/memory-state.ts";
import { AGENT_NAMES, connected, uuid } from "../support/rows.ts";

const COUNTS = "agents_first_connection_seconds_count";
const HIDDEN = "firstlight_retired_agents_first_connection_seconds";
const nameOf = (n: number): string => JSON.stringify(["alice", `dev-${n}-ü🚀`]);
const lines = (fold: Fold): readonly string[] => series(fold.publish(), COUNTS);
const some = (): Fold => foldOf([1, 2, 3].map(inWorkspace));

/** Where the names of these workspaces are retired. */
function hiding(retired: readonly number[], kept: readonly HiddenSeries[] = []): Fold {
  return new Fold(CATALOG, undefined, {
    ...NO_RETIREMENT,
    isRetired: (name) => retired.map(nameOf).includes(name),
    numbersOf: ({ labels }) => kept.find((each) => each.labels === labels)?.values,
  });
}

describe("a series that retires", () => {
  test("is no line of the next page; what was published stays as it was", () => {
    const fold = some();
    const root = fold.publish();
    const before = page(root);
    const taken = fold.retire(nameOf(2));
    expect(taken).toMatchObject([{ family: "agents_first_connection_seconds", name: nameOf(2) }]);
    expect(lines(fold)).toHaveLength(2);
    expect(page(root)).toBe(before);
    expect(histograms(fold.publish()).series).toBe(2);
    expect(fold.retire(nameOf(2)), "once").toEqual([]);
  });

  test("leaves its place to another, which does not have its numbers", () => {
    const fold = some();
    fold.retire(nameOf(2));
    fold.publish();
    fold.add(inWorkspace(4));
    const totals = fold.publish();
    expect(histograms(totals).size).toBe(3);
    expect(series(totals, COUNTS).every((line) => line.endsWith(" 1"))).toBe(true);
  });

  test("that was touched meanwhile is not for the store as one that is shown", () => {
    const fold = some();
    fold.publish();
    fold.add(inWorkspace(2));
    const [taken] = fold.retire(nameOf(2));
    expect(taken?.values[1]).toBe(2);
    expect([...fold.touched()].map(({ family }) => family)).not.toContain(
      "agents_first_connection_seconds",
    );
  });

  test("is in the sum of all that is hidden, until it is back; then there is no such sum, in the store neither", () => {
    const fold = some();
    const taken = [2, 3].flatMap((n) => fold.retire(nameOf(n)));
    const hidden = (): readonly string[] => series(fold.publish(), `${HIDDEN}_count`);
    expect(hidden()).toEqual(['{template_name="docker",agent_name="main"} 2']);
    expect(taken.map((each) => fold.bringBack(each))).toEqual([
      null,
      { family: HIDDEN.replace("firstlight_", ""), labels: '["docker","main"]' },
    ]);
    expect(hidden()).toEqual([]);
    expect(sortedPage(fold.publish())).toEqual(sortedPage(some().publish()));
  });
});

describe("what is counted of a retired name", () => {
  test("goes to the numbers that are kept, and to the sum, and is not shown", () => {
    const kept = { family: "", name: "", labels: "", values: Float64Array.of() };
    const [one] = some().retire(nameOf(2));
    const fold = hiding([2], [{ ...kept, ...one }]);
    for (const fact of [inWorkspace(2), inWorkspace(1)]) fold.add(fact);
    expect(lines(fold)).toHaveLength(1);
    expect(series(fold.publish(), `${HIDDEN}_count`)).toHaveLength(1);
    expect(fold.hiding.size).toBe(1);
    expect(fold.hiding.take().map(({ values }) => values[1])).toEqual([2]);
    expect(fold.hiding.take()).toEqual([]);
  });

  test("goes on where it is shown, as long as it is: who retires it takes it out", () => {
    const shown: Fact[] = [];
    const fold = new Fold(CATALOG, undefined, {
      ...NO_RETIREMENT,
      isRetired: () => shown.length > 0,
    });
    fold.add(inWorkspace(2));
    shown.push(inWorkspace(2));
    fold.add(inWorkspace(2));
    expect(lines(fold).map((line) => line.at(-1))).toEqual(["2"]);
    expect(series(fold.publish(), HIDDEN)).toEqual([]);
  });

  test("is nothing where its workspace is left out, and where the labels name none", () => {
    const left = { id: uuid(9), owner: "alice", name: "dev" };
    const fold = new Fold(CATALOG, undefined, {
      ...NO_RETIREMENT,
      isLeftOut: (id) => id === left.id,
    });
    fold.add(connected({ workspace: left, names: AGENT_NAMES }));
    expect(lines(fold)).toEqual([]);
    expect(fold.hiding.size).toBe(0);
  });
});
