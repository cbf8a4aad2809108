// The binary form of COPY, and of values: read alike wherever the network cuts it, and never short.

import fc from "fast-check";
import { expect, test } from "vitest";
import { POSTGRES_EPOCH } from "../../src/change/micros.ts";
import { Transient } from "../../src/errors.ts";
import { readBinary } from "../../src/postgres/binary.ts";
import { CopyValues } from "../../src/postgres/copy-values.ts";

const HEADER = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
const TRAILER = Buffer.from([0xff, 0xff]);

function tuple(value: Uint8Array): Buffer {
  const head = Buffer.alloc(6);
  head.writeInt16BE(1);
  head.writeInt32BE(value.length, 2);
  return Buffer.concat([head, value]);
}

test("values come out whole, wherever the output is cut", () => {
  const values = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
  const cuts = fc.array(fc.nat(), { maxLength: 6 });
  fc.assert(
    fc.property(values, cuts, (given, places) => {
      const bytes = Buffer.concat([HEADER, ...given.map(tuple), TRAILER]);
      const at = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort(
        (a, b) => a - b,
      );
      const read = new CopyValues();
      const found: Buffer[] = [];
      for (const [i, from] of at.entries())
        read.read(bytes.subarray(from, at[i + 1]), (value) => found.push(Buffer.from(value)));
      read.end();
      expect(found).toEqual(given.map((value) => Buffer.from(value)));
    }),
  );
});

test("an output that ends before its trailer is no answer", () => {
  const whole = Buffer.concat([HEADER, tuple(Buffer.from("abc")), TRAILER]);
  for (let length = 0; length < whole.length; length += 1) {
    const read = new CopyValues();
    read.read(whole.subarray(0, length), () => undefined);
    expect(() => read.end(), `cut at ${length}`).toThrow(Transient);
  }
});

test("text where binary was asked for is refused", () => {
  const read = new CopyValues();
  expect(() =>
    read.read(Buffer.from("1\tabc\tdef and so on, long enough\n"), () => undefined),
  ).toThrow(TypeError);
});

const UUID = "01234567-89ab-4def-8123-456789abcdef";
const int64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
};

test.each([
  ["uuid", 2950, Buffer.from(UUID.replaceAll("-", ""), "hex"), UUID],
  ["a time", 1184, int64(1n), POSTGRES_EPOCH + 1],
  ["the end of time", 1184, int64(2n ** 63n - 1n), Number.MAX_SAFE_INTEGER],
  ["the beginning of time", 1184, int64(-(2n ** 63n)), -Number.MAX_SAFE_INTEGER],
  ["true", 16, Buffer.of(1), "t"],
  ["false", 16, Buffer.of(0), "f"],
  ["a number", 23, Buffer.from([0xff, 0xff, 0xff, 0xfe]), "-2"],
  ["a small number", 21, Buffer.from([0, 7]), "7"],
  ["a large number", 20, int64(2n ** 53n + 1n), "9007199254740993"],
  ["text", 25, Buffer.from("größe"), "größe"],
  ["an enum's label", 16_500, Buffer.from("start"), "start"],
])("a value in binary form: %s", (_name, type, bytes, value) => {
  expect(readBinary(bytes, type)).toBe(value);
});

test.each([
  ["a type that no column of ours has", 1700, Buffer.of(0, 1)],
  ["an id that is too short", 2950, Buffer.alloc(15)],
  ["a time that is too long", 1184, Buffer.alloc(9)],
])("what can not be read is not guessed: %s", (_name, type, bytes) => {
  expect(readBinary(bytes, type)).toBeUndefined();
});
