// firstlight_time_to_first_light_seconds: four samples of a fact or none, and what is born at 0.

import { describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Connected, Fact, Light } from "../../src/derive/fact.ts";
import { OFFERED, foldOf, series } from "../support/folding.ts";
import { BUILDABLE, LIGHT, TRAITS, after, connected, ended, uuid } from "../support/rows.ts";

const NAME = "firstlight_time_to_first_light_seconds";
const CENTURY = 100 * 365 * 86_400 * SECOND;

const lit = (light: Partial<Light> = {}, given: Partial<Connected> = {}): Connected =>
  connected({ at: after(37), took: 7 * SECOND, light: { ...LIGHT, ...light }, ...given });

/** Lines of what is counted, buckets left out. */
const counted = (facts: readonly Fact[]): readonly string[] =>
  ["_sum", "_count"].flatMap((part) =>
    series(foldOf(facts).publish(), NAME + part)
      .filter((line) => !line.endsWith(" 0"))
      .map((line) => part + line),
  );
const dropped = (facts: readonly Fact[]): readonly (string | undefined)[] =>
  series(foldOf(facts).publish(), "firstlight_dropped_samples_total").map((line) => line.at(-1));
const typesOf = (facts: readonly Fact[]): readonly string[] =>
  series(foldOf(facts).publish(), `${NAME}_count`).map((line) => line.slice(1));

test("a first connection is a sample of each phase, and the first three sums make the last", () => {
  expect(counted([lit()])).toEqual([
    '_sum{type="regular",phase="queue"} 5',
    '_sum{type="regular",phase="provision"} 25',
    '_sum{type="regular",phase="connect"} 7',
    '_sum{type="regular",phase="total"} 37',
    '_count{type="regular",phase="queue"} 1',
    '_count{type="regular",phase="provision"} 1',
    '_count{type="regular",phase="connect"} 1',
    '_count{type="regular",phase="total"} 1',
  ]);
});

test.each([
  ["prebuild", { prebuild: true }],
  ["claim", { claimed: "large", initial: false }],
  ["claim", { claimed: "", initial: false }],
  ["regular", { initial: false, reason: "autostart" }],
])("%s: by what the build was", (type, traits) => {
  const [line] = counted([lit({ traits: { ...TRAITS, ...traits } })]);
  expect(line).toBe(`_sum{type="${type}",phase="queue"} 5`);
});

test("a bucket holds its bound, and a microsecond more falls into the next", () => {
  const facts = [5 * SECOND, 5 * SECOND + 1].map((queued, n) => lit({ queued }, { id: uuid(n) }));
  const buckets = series(foldOf(facts).publish(), `${NAME}_bucket{`).filter((line) =>
    line.includes('"queue"'),
  );
  const values = buckets.map((line) => line.split(" ").at(-1));
  expect(values).toEqual(["0", "1", "2", "2", "2", "2", "2", "2", "2", "2", "2"]);
});

describe("where one phase can not be, none of the four is observed, and the fact is dropped once", () => {
  test.each<[string, Connected, readonly string[]]>([
    ["a queue that is negative", lit({ queued: -1 }), ["1", "0"]],
    ["a provisioning that is negative", lit({ provisioned: -1 }), ["1", "0"]],
    ["a connection before the end", lit({ completedAt: after(37) + 1 }), ["1", "0"]],
    ["all of them", lit({ queued: -1, provisioned: -1 }, { took: -1 }), ["1", "0"]],
    ["a queue of more than a century", lit({ queued: CENTURY + 1 }), ["0", "1"]],
    ["a century in two parts", lit({ queued: CENTURY, provisioned: 1 }), ["0", "1"]],
    ["a negative one beside a long one", lit({ queued: -1, provisioned: CENTURY + 2 }), ["1", "0"]],
  ])("%s", (_what, fact, reasons) => {
    expect(counted([fact])).toEqual([]);
    expect(dropped([fact])).toEqual(reasons);
  });

  test("the first connection itself is observed all the same, if it can be", () => {
    const count = series(
      foldOf([lit({ queued: -1 })]).publish(),
      "agents_first_connection_seconds_count",
    );
    expect(count[0]?.at(-1)).toBe("1");
  });

  test("a connection that was dropped itself has a light where that adds up", () => {
    expect(counted([lit({}, { took: -1 })])).toHaveLength(8);
    expect(dropped([lit({}, { took: -1 })])).toEqual(["1", "0"]);
  });

  test("a build that was dropped and its agent are two facts", () => {
    expect(dropped([ended({ took: -1 }), lit({ provisioned: -1 })])).toEqual(["2", "0"]);
  });
});

const phases = (type: string): readonly string[] =>
  ["queue", "provision", "connect", "total"].map((phase) => `type="${type}",phase="${phase}"} 0`);

describe("series are born at 0", () => {
  test("with a template: of regular starts; with a preset: of the pool's, too", () => {
    expect(typesOf([{ ...OFFERED, names: { ...BUILDABLE, preset: "" } }])).toEqual(
      phases("regular"),
    );
    expect(typesOf([OFFERED])).toEqual(["regular", "prebuild", "claim"].flatMap(phases));
  });

  test("not by an agent without a light", () => {
    expect(typesOf([connected()])).toEqual([]);
  });
});
