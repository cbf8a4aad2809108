import { crc32 } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { appendCrc32 } from "../../src/http/crc32.ts";

test("the CRC-32 of two byte strings together is that of their concatenation", () => {
  const bytes = fc.uint8Array({ maxLength: 3_000 });
  fc.assert(
    fc.property(bytes, bytes, (before, after) => {
      const whole = crc32(Buffer.concat([before, after]));
      expect(appendCrc32(crc32(before), crc32(after), after.length)).toBe(whole);
    }),
    { numRuns: 500 },
  );
});

test("also where the second is megabytes long", () => {
  const before = Buffer.from("firstlight");
  for (const length of [2 ** 16, 2 ** 20 - 1, 20_000_003]) {
    const after = Buffer.alloc(length, 0xa7);
    const whole = crc32(after, crc32(before));
    expect(appendCrc32(crc32(before), crc32(after), length)).toBe(whole);
  }
});

test("beyond 4 GiB, piece by piece or at once, it is the same", () => {
  const zeros = crc32(Buffer.alloc(2 ** 20));
  let pieces = crc32("x");
  let run = 0;
  for (let i = 0; i < 5_000; i += 1) {
    pieces = appendCrc32(pieces, zeros, 2 ** 20);
    run = appendCrc32(run, zeros, 2 ** 20);
  }
  expect(appendCrc32(crc32("x"), run, 5_000 * 2 ** 20)).toBe(pieces);
});
