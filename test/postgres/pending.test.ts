// How far in time a source has read: a moment of the server's is reached once all WAL that there was at that moment is read.

import { expect, test } from "vitest";
import type { Tx } from "../../src/change/row.ts";
import { toLsn } from "../../src/lsn.ts";
import { Pending } from "../../src/postgres/pending.ts";
import { after } from "../support/rows.ts";

const lsn = (n: number) => toLsn(BigInt(n));
const tx = (end: number): Tx => ({ xid: 1, end: lsn(end), at: after(end), rows: [] });

test("it is not known before the first moment is reached", () => {
  const pending = new Pending();
  expect(pending.reaches(lsn(10))).toBe(false);
  expect(pending.take(lsn(10)).readUpTo).toBeNull();
  pending.note({ end: lsn(20), at: after(1) });
  expect(pending.reaches(lsn(19))).toBe(false);
  expect(pending.take(lsn(19)).readUpTo).toBeNull();
  expect(pending.reaches(lsn(20))).toBe(true);
  expect(pending.take(lsn(20)).readUpTo).toBe(after(1));
});

test("a batch in the middle of a backlog reaches nothing, whatever its transactions' times are", () => {
  const pending = new Pending();
  pending.note({ end: lsn(100), at: after(3_600) });
  pending.add(tx(50));
  expect(pending.take(lsn(50))).toEqual({ txs: [tx(50)], end: lsn(50), readUpTo: null });
  pending.add(tx(100));
  expect(pending.take(lsn(100)).readUpTo).toBe(after(3_600));
});

test("what was reached stays so until the next moment is", () => {
  const pending = new Pending();
  pending.note({ end: lsn(10), at: after(1) });
  expect(pending.take(lsn(10)).readUpTo).toBe(after(1));
  expect(pending.reaches(lsn(11))).toBe(false);
  expect(pending.take(lsn(11)).readUpTo).toBe(after(1));
});

test("whoever lags for ever reaches one moment after the other, not the newest only", () => {
  const pending = new Pending();
  for (let n = 1; n <= 5; n += 1) pending.note({ end: lsn(100 * n), at: after(n) });
  expect(pending.take(lsn(100)).readUpTo).toBe(after(1));
  pending.note({ end: lsn(600), at: after(6) });
  expect(pending.take(lsn(599)).readUpTo).toBe(after(1));
  expect(pending.take(lsn(600)).readUpTo).toBe(after(6));
});

test("a moment of what was read already is reached at once", () => {
  const pending = new Pending();
  pending.take(lsn(10));
  pending.note({ end: lsn(10), at: after(5) });
  expect(pending.reaches(lsn(10))).toBe(true);
});
