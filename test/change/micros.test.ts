import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SECOND, formatTimestamptz, parseTimestamptz } from "../../src/change/micros.ts";

const EARLIEST = -Number.MAX_SAFE_INTEGER;
const LATEST = Number.MAX_SAFE_INTEGER;

test.each([
  ["1970-01-01 00:00:00+00", 0],
  ["2026-08-21 10:00:00+00", 1_787_306_400_000_000],
  ["2026-08-21 10:00:00.123456+00", 1_787_306_400_123_456],
  ["2026-08-21 10:00:00.1+00", 1_787_306_400_100_000],
  ["2026-08-21 10:00:00.000001+00", 1_787_306_400_000_001],
  ["2024-02-29 23:59:59.999999+00", 1_709_251_199_999_999],
])("%s is %d", (text, micros) => {
  expect(parseTimestamptz(text)).toBe(micros);
});

test.each([
  ["2026-08-21 12:00:00+02"],
  ["2026-08-21 04:30:00-05:30"],
  ["2026-08-21 15:45:00+05:45"],
  ["2026-08-21 10:19:32+00:19:32"],
  ["2026-08-20 22:00:00-12"],
])("%s is the same instant in another time zone", (text) => {
  expect(parseTimestamptz(text)).toBe(parseTimestamptz("2026-08-21 10:00:00+00"));
});

test("times before 1970 keep their microseconds and their order", () => {
  expect(parseTimestamptz("1969-12-31 23:59:59.999999+00")).toBe(-1);
  expect(parseTimestamptz("1900-01-01 00:00:00.5+00")).toBe(-2_208_988_799_500_000);
});

test.each([
  ["infinity", LATEST],
  ["-infinity", EARLIEST],
  ["9999-12-31 23:59:59+00", LATEST],
  ["294276-12-31 23:59:59.999999+00", LATEST],
  ["0001-01-01 00:00:00+00", EARLIEST],
  ["0044-03-15 12:00:00+00 BC", EARLIEST],
  ["4714-11-24 00:00:00+00 BC", EARLIEST],
])("%s, which a double can not hold exactly, is clamped", (text, clamped) => {
  expect(parseTimestamptz(text)).toBe(clamped);
});

describe("other styles stop the stream instead of turning into missing values", () => {
  test.each([
    ["German", "21.08.2026 10:00:00.123456 UTC"],
    ["SQL", "08/21/2026 10:00:00.123456 UTC"],
    ["Postgres", "Fri Aug 21 10:00:00.123456 2026 UTC"],
    ["ISO 8601", "2026-08-21T10:00:00Z"],
    ["without a time zone", "2026-08-21 10:00:00"],
    ["a date", "2026-08-21"],
    ["a letter for a digit", "2026-08-21 1x:00:00.123456+00"],
    ["too fine a fraction", "2026-08-21 10:00:00.1234567+00"],
    ["a fraction of nothing", "2026-08-21 10:00:00.+00"],
    ["nothing", ""],
  ])("%s: %j", (_style, text) => {
    expect(() => parseTimestamptz(text)).toThrow(SyntaxError);
  });
});

test("every exact time survives being formatted and parsed", () => {
  fc.assert(
    fc.property(fc.integer({ min: EARLIEST, max: LATEST }), (at) => {
      expect(parseTimestamptz(formatTimestamptz(at))).toBe(at);
    }),
  );
});

test("the common form is read by position as the general one reads it", () => {
  const common = fc
    .tuple(fc.integer({ min: EARLIEST, max: LATEST }), fc.integer({ min: 0, max: 6 }))
    .map(([at, digits]) => formatTimestamptz(at).slice(0, digits === 0 ? 19 : 20 + digits));
  fc.assert(
    fc.property(common, (text) => {
      expect(parseTimestamptz(`${text}+00`)).toBe(parseTimestamptz(`${text}+00:00`));
    }),
  );
});

test("times are formatted as Postgres prints them in UTC", () => {
  expect(formatTimestamptz(1_787_306_400 * SECOND + 42)).toBe("2026-08-21 10:00:00.000042+00");
  expect(formatTimestamptz(-1)).toBe("1969-12-31 23:59:59.999999+00");
});
