// Log sequence numbers: 64-bit byte positions in the write-ahead log.
// Text form ("16/B374D848") exists only on the wire and in logs; text must never be compared.

declare const lsnBrand: unique symbol;

/** A byte position in the WAL of one timeline of one Postgres system. */
export type Lsn = bigint & { readonly [lsnBrand]: true };

/** `0/0`: "unknown" or "let the server decide", never a real position. */
export const ZERO_LSN = 0n as Lsn;

const MAX_LSN = (1n << 64n) - 1n;
const LSN_TEXT = /^([0-9a-fA-F]{1,8})\/([0-9a-fA-F]{1,8})$/;

/** Brands a 64-bit integer as a position. Throws `RangeError` outside 0 … 2^64-1. */
export function toLsn(value: bigint): Lsn {
  if (value < 0n || value > MAX_LSN) throw new RangeError(`LSN out of range: ${value}`);
  return value as Lsn;
}

/** Parses Postgres' `pg_lsn` text, e.g. `0/16B6C50`. Throws `SyntaxError` on anything else. */
export function parseLsn(text: string): Lsn {
  const match = LSN_TEXT.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new SyntaxError(`not an LSN: ${JSON.stringify(text)}`);
  }
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

/** Formats as Postgres prints it: upper-case hex, no padding. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

/** The later of two positions. */
export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
