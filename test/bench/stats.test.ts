// The arithmetic of the benchmark's figures.

import { describe, expect, test } from "vitest";
import { median, percentile, ratioOfPairs } from "./support/stats.ts";

describe("percentile", () => {
  test("the median of an even number of values lies between the two in the middle", () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
    expect(median([])).toBeNaN();
  });

  test("the ends are the smallest and the largest value, whatever the order", () => {
    const values = [5, 1, 9, 3];
    expect(percentile(values, 0)).toBe(1);
    expect(percentile(values, 1)).toBe(9);
    expect(values).toEqual([5, 1, 9, 3]);
  });

  test("between two ranks it is interpolated", () => {
    expect(percentile([0, 10], 0.99)).toBeCloseTo(9.9);
  });
});

describe("ratioOfPairs", () => {
  test("pairs that agree leave no doubt", () => {
    const ratio = ratioOfPairs([1, 2, 3], [2, 4, 6]);
    expect(ratio.median).toBe(0.5);
    expect(ratio.lower).toBeCloseTo(0.5);
    expect(ratio.upper).toBeCloseTo(0.5);
    expect(ratio.pairs).toBe(3);
  });

  test("a disturbance that hits both of a pair cancels", () => {
    expect(ratioOfPairs([1, 10, 100], [4, 40, 400]).upper).toBeCloseTo(0.25);
  });

  test("the bounds are Student's one-sided 95 % on the logarithms", () => {
    // ln of e^0, e^1, e^2: mean 1, deviation 1; 2.92 is the quantile for two degrees of freedom.
    const { lower, upper } = ratioOfPairs([1, Math.E, Math.E ** 2], [1, 1, 1]);
    expect(Math.log(lower)).toBeCloseTo(1 - 2.92 / Math.sqrt(3));
    expect(Math.log(upper)).toBeCloseTo(1 + 2.92 / Math.sqrt(3));
  });

  test("one pair has a ratio and no bounds", () => {
    const { median: value, lower } = ratioOfPairs([1], [2]);
    expect(value).toBe(0.5);
    expect(lower).toBeNaN();
  });

  test("a run without its partner is left out", () => {
    expect(ratioOfPairs([1, 2], [2]).pairs).toBe(1);
  });
});
