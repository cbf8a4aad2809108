// Values in Postgres' binary form (what a type's send function writes), for the types that our columns have.
//
// The server writes them far cheaper than text (measured: docs/performance.md), and times need no session setting to be read.

import { type Micros, POSTGRES_EPOCH, clamped } from "../change/micros.ts";

/** Type oids never change (pg_type.dat). */
const TYPE = {
  bool: 16,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  varchar: 1043,
  timestamptz: 1184,
  uuid: 2950,
} as const;

/** Types that a database defines for itself: here Coder's enums, which are sent as their label. */
const FIRST_OWN_TYPE = 16_384;

/** The value as a cell: times as microseconds, all else as text. Undefined for what can not be read. */
export function readBinary(bytes: Buffer, type: number): string | Micros | undefined {
  switch (type) {
    case TYPE.uuid:
      return bytes.length === 16 ? uuid(bytes) : undefined;
    case TYPE.timestamptz:
      return bytes.length === 8 ? timestamptz(bytes) : undefined;
    case TYPE.bool:
      return bytes.length === 1 ? (bytes[0] === 0 ? "f" : "t") : undefined;
    case TYPE.int2:
      return bytes.length === 2 ? String(bytes.readInt16BE()) : undefined;
    case TYPE.int4:
      return bytes.length === 4 ? String(bytes.readInt32BE()) : undefined;
    case TYPE.int8:
      return bytes.length === 8 ? String(bytes.readBigInt64BE()) : undefined;
    case TYPE.text:
    case TYPE.varchar:
      return bytes.toString("utf8");
    default:
      return type >= FIRST_OWN_TYPE ? bytes.toString("utf8") : undefined;
  }
}

/** Microseconds since 2000-01-01; infinities are the ends of the range. */
function timestamptz(bytes: Buffer): Micros {
  return clamped(Number(bytes.readBigInt64BE()) + POSTGRES_EPOCH);
}

function uuid(bytes: Buffer): string {
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
