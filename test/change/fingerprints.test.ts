import fc from "fast-check";
import { expect, test } from "vitest";
import { Fingerprints } from "../../src/change/fingerprints.ts";

/** Few values that share few places, so that they push each other on; the largest one there can be. */
const print = fc.oneof(
  fc.nat(3).map((n) => n * 1_024 + 1_022),
  fc.nat(5).map((n) => n + 1_020),
  fc.constantFrom(0, 1, 2 ** 30 - 1),
);

const value = (n: number): number => Math.imul(n, 0x9e3779b1) & 0x3fffffff;

test("whatever was added and deleted, it has what a multiset has", () => {
  const step = fc.record({ add: fc.boolean(), print });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const [fingerprints, model] = [new Fingerprints(), new Map<number, number>()];
      for (const { add, print: at } of steps) {
        const count = model.get(at) ?? 0;
        model.set(at, add ? count + 1 : Math.max(0, count - 1));
        if (add) fingerprints.add(at);
        else fingerprints.delete(at);
        for (const [known, times] of model) expect(fingerprints.has(known)).toBe(times > 0);
      }
      expect(fingerprints.size).toBe([...model.values()].reduce((sum, count) => sum + count, 0));
    }),
    { numRuns: 300 },
  );
});

test("it grows, and keeps what it has", () => {
  const fingerprints = new Fingerprints();
  for (let n = 0; n < 100_000; n += 1) fingerprints.add(value(n));
  for (let n = 0; n < 100_000; n += 2) fingerprints.delete(value(n));
  expect(fingerprints.size).toBe(50_000);
  const kept = Array.from({ length: 100_000 }, (_, n) => fingerprints.has(value(n)));
  expect(kept.every((has, n) => has === (n % 2 === 1))).toBe(true);
});
