// What the decoder can not read is an error by name: nothing is passed over, and nothing goes on for ever.

import fc from "fast-check";
import { expect, test } from "vitest";
import { NeedsOperator } from "../../src/errors.ts";
import {
  AGENT,
  AGENTS,
  BUILD,
  BUILDS,
  CONNECTED,
  DONE,
  JOB,
  JOBS,
  NOW,
  decoding,
} from "../support/decoding.ts";
import { Relation, begin, commit, truncate } from "../support/pgoutput.ts";

const caught = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return null;
};

/** The message with another byte at this offset. */
function withByte(message: Buffer, offset: number, letter: string): Buffer {
  const changed = Buffer.from(message);
  changed.write(letter, offset, "latin1");
  return changed;
}

test.each([
  ["an unknown message", Buffer.from("S"), "0x53 'S'"],
  ["an empty message", Buffer.alloc(0), "(none)"],
  ["a row of a relation that was not described", new Relation(77, "x", ["id"]).insert({}), ""],
  ["an unknown kind of column", withByte(BUILDS.insert(BUILD), 8, "z"), "0x7a 'z'"],
  ["an update without a new tuple", withByte(JOBS.update(JOB), 5, "X"), "0x58 'X'"],
])("%s", (_name, message, told) => {
  const { decoder } = decoding();
  const error = caught(() => decoder.decode(message));
  expect(error).toBeInstanceOf(NeedsOperator);
  expect(error).toMatchObject({ reason: "protocol", message: expect.stringContaining(told) });
});

test.each([
  [BUILDS, "transition"],
  [JOBS, "completed_at"],
  [AGENTS, "first_connected_at"],
])("a publication without a needed column: %#", ({ oid, name, columns }, missing) => {
  const { decoder } = decoding([]);
  const relation = new Relation(
    oid,
    name,
    columns.filter((column) => column !== missing),
  );
  const error = caught(() => decoder.decode(relation.describe()));
  expect(error).toBeInstanceOf(NeedsOperator);
  expect(error).toMatchObject({
    reason: "column_missing",
    message: expect.stringContaining(missing),
  });
});

test("a session whose DateStyle is not ISO", () => {
  const { decoder } = decoding();
  const german = BUILDS.insert({ ...BUILD, created_at: "21.08.2026 10:00:00.123456 UTC" });
  expect(() => decoder.decode(german)).toThrow(SyntaxError);
});

test("a needed column that is NULL", () => {
  const { decoder } = decoding();
  expect(() => decoder.decode(BUILDS.insert({ ...BUILD, job_id: null }))).toThrow(TypeError);
});

const samples = [
  begin({ at: NOW }),
  commit(100n),
  truncate([1, 2, 3]),
  ...[BUILDS, JOBS, AGENTS].map((relation) => relation.describe()),
  BUILDS.insert(BUILD),
  JOBS.insert(DONE),
  AGENTS.insert(AGENT),
  JOBS.update(DONE),
  AGENTS.update(CONNECTED),
  BUILDS.delete({ id: BUILD.id }),
];

const NAMED = [NeedsOperator, RangeError, TypeError, SyntaxError];
const ends = (message: Buffer): void => {
  const { decoder, waiting } = decoding();
  waiting.addAgent(AGENT.id);
  const error = caught(() => decoder.decode(message));
  expect(error === null || NAMED.some((kind) => error instanceof kind), String(error)).toBe(true);
};

test("random bytes decode or throw, and always come to an end", () => {
  const tags = fc.constantFrom(..."BCDIMORTUY");
  const bytes = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(tags, bytes, (tag, rest) => ends(Buffer.concat([Buffer.from(tag), rest]))),
    { numRuns: 1_000 },
  );
});

test("a changed byte anywhere decodes or throws", () => {
  const sample = fc.constantFrom(...samples);
  fc.assert(
    fc.property(sample, fc.nat(), fc.nat(255), (message, position, byte) => {
      const changed = Buffer.from(message);
      changed[position % changed.length] = byte;
      ends(changed);
    }),
    { numRuns: 1_000 },
  );
});

test("a row that is cut anywhere throws", () => {
  for (const message of [BUILDS.insert(BUILD), AGENTS.insert(CONNECTED), JOBS.update(DONE)]) {
    for (let length = 1; length < message.length; length += 1) {
      const { decoder } = decoding();
      const cut = message.subarray(0, length);
      expect(() => decoder.decode(cut), `cut at ${length}`).toThrow();
    }
  }
});
