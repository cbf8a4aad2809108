import fc from "fast-check";
import { expect, test } from "vitest";
import { ZERO_LSN, formatLsn, maxLsn, parseLsn, toLsn } from "../src/lsn.ts";

const lsns = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(toLsn);

test("every position survives being printed and parsed", () => {
  fc.assert(
    fc.property(lsns, (lsn) => {
      expect(parseLsn(formatLsn(lsn))).toBe(lsn);
    }),
  );
});

test("positions are printed as Postgres prints them", () => {
  expect(formatLsn(ZERO_LSN)).toBe("0/0");
  expect(formatLsn(toLsn(0x16_b374d848n))).toBe("16/B374D848");
  expect(formatLsn(toLsn(1n << 32n))).toBe("1/0");
  expect(formatLsn(toLsn((1n << 64n) - 1n))).toBe("FFFFFFFF/FFFFFFFF");
});

test("lower-case and padded texts mean the same position", () => {
  expect(parseLsn("16/b374d848")).toBe(parseLsn("16/B374D848"));
  expect(parseLsn("0/00000010")).toBe(toLsn(16n));
});

test.each(["", "0", "0/", "/0", "0/0/0", " 0/0", "0/0\n", "G/0", "123456789/0", "0/123456789"])(
  "%j is not a position",
  (text) => {
    expect(() => parseLsn(text)).toThrow(SyntaxError);
  },
);

test("the order of positions is not the order of their texts", () => {
  expect(["0/9", "0/10"].sort()).toEqual(["0/10", "0/9"]);
  expect(parseLsn("0/9") < parseLsn("0/10")).toBe(true);
  expect(maxLsn(parseLsn("0/9"), parseLsn("0/10"))).toBe(parseLsn("0/10"));
  expect(maxLsn(parseLsn("A/0"), parseLsn("9/FFFFFFFF"))).toBe(parseLsn("A/0"));
});

test("a number that is no 64-bit position is refused", () => {
  expect(() => toLsn(-1n)).toThrow(RangeError);
  expect(() => toLsn(1n << 64n)).toThrow(RangeError);
});
