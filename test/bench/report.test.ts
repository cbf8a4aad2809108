// The report: how numbers are written, and what it says of a promise.

import { describe, expect, test } from "vitest";
import type { Measured } from "./support/archive.ts";
import { markdownOf, shown } from "./support/report.ts";
import { type Check, holds } from "./support/section.ts";

describe("numbers", () => {
  test.each([
    [0.123456, "0.123"],
    [12.3456, "12.3"],
    [1234.56, "1,235"],
    [12, "12"],
    [Number.NaN, "–"],
    ["a | b", "a \\| b"],
  ])("%s is shown as %s", (value, text) => {
    expect(shown(value)).toBe(text);
  });
});

describe("a check", () => {
  test("holds at its limit, from either side", () => {
    expect(holds({ claim: "", value: 0.5, limit: 0.5 })).toBe(true);
    expect(holds({ claim: "", value: 0.5, limit: 0.5, atLeast: true })).toBe(true);
    expect(holds({ claim: "", value: 0.51, limit: 0.5 })).toBe(false);
    expect(holds({ claim: "", value: 0.49, limit: 0.5, atLeast: true })).toBe(false);
  });

  test("that could not be measured does not hold", () => {
    expect(holds({ claim: "", value: Number.NaN, limit: 1 })).toBe(false);
  });
});

function measured(date: string, checks: readonly Check[] = []): Measured {
  const machine = {
    cores: 2,
    model: "a CPU",
    memory: 2 ** 34,
    kernel: "Linux 6",
    node: "v26",
    postgres: "18.4",
  };
  const report = {
    title: `Section of ${date}`,
    about: "About.",
    tables: [{ caption: "Figures", head: ["who", "µs"], rows: [["us", 1.23456]] }],
    checks,
    notes: ["A note."],
  };
  return { date, machine, seconds: 12.3, pairs: 5, smoke: false, report };
}

test("the report has every section with its own date, and says how far off a broken promise is", () => {
  const text = markdownOf([
    measured("2026-01-02T00:00:00Z", [{ claim: "half", value: 0.6, limit: 0.5 }]),
    measured("2026-01-03T00:00:00Z"),
  ]);
  expect(text).toContain("Last measured on 2026-01-03: 2 cores of a CPU, 16 GiB");
  expect(text).toContain("| half | 0.6 | ≤ 0.5 | **no**: 1.2 of the limit |");
  expect(text).toContain("Measured on 2026-01-02: 5 pairs, 12 s.");
  expect(text).toContain("| who | µs |\n| --- | ---: |\n| us | 1.23 |");
  expect(text).toContain("- A note.");
});
