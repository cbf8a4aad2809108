// Messages of the pgoutput protocol (version 1), written by hand: what a server would send, and what it never should.
// Formats: https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html

import { POSTGRES_EPOCH, type Micros } from "../../src/change/micros.ts";

/** A column of a tuple: text, `null` for kind n, `undefined` for kind u (unchanged TOAST). */
export type Column = string | null | undefined;

/** A tuple by column name; columns that are not named are NULL. */
export type Columns = Readonly<Record<string, Column>>;

const u8 = (n: number): Buffer => Buffer.of(n);
const u16 = (n: number): Buffer => sized(2, (b) => b.writeUInt16BE(n));
const u32 = (n: number): Buffer => sized(4, (b) => b.writeUInt32BE(n));
const u64 = (n: bigint): Buffer => sized(8, (b) => b.writeBigUInt64BE(n));
const time = (at: Micros): Buffer =>
  sized(8, (b) => b.writeBigInt64BE(BigInt(at - POSTGRES_EPOCH)));
const letter = (tag: string): Buffer => Buffer.from(tag, "latin1");
const text = (value: string): Buffer => Buffer.concat([Buffer.from(value, "utf8"), u8(0)]);

function sized(length: number, write: (buffer: Buffer) => void): Buffer {
  const buffer = Buffer.alloc(length);
  write(buffer);
  return buffer;
}

export function begin(options: { xid?: number; at?: Micros; final?: bigint } = {}): Buffer {
  const { xid = 1, at = 0, final = 0n } = options;
  return Buffer.concat([letter("B"), u64(final), time(at), u32(xid)]);
}

export function commit(end: bigint, at: Micros = 0): Buffer {
  return Buffer.concat([letter("C"), u8(0), u64(end - 1n), u64(end), time(at)]);
}

export const origin = (): Buffer => Buffer.concat([letter("O"), u64(1n), text("elsewhere")]);

export const typeOf = (oid: number, name: string): Buffer =>
  Buffer.concat([letter("Y"), u32(oid), text("public"), text(name)]);

export const logicalMessage = (content: string): Buffer => {
  const bytes = Buffer.from(content, "utf8");
  return Buffer.concat([letter("M"), u8(1), u64(1n), text("prefix"), u32(bytes.length), bytes]);
};

export const truncate = (oids: readonly number[]): Buffer =>
  Buffer.concat([letter("T"), u32(oids.length), u8(0), ...oids.map(u32)]);

/** One relation as the server describes it, and the row messages for it. */
export class Relation {
  readonly oid: number;
  readonly name: string;
  readonly columns: readonly string[];

  constructor(oid: number, name: string, columns: readonly string[]) {
    this.oid = oid;
    this.name = name;
    this.columns = columns;
  }

  describe(): Buffer {
    return Buffer.concat([
      letter("R"),
      u32(this.oid),
      text("public"),
      text(this.name),
      letter("d"),
      u16(this.columns.length),
      ...this.columns.flatMap((name) => [
        u8(name === "id" ? 1 : 0),
        text(name),
        u32(25),
        u32(~0 >>> 0),
      ]),
    ]);
  }

  insert(columns: Columns): Buffer {
    return Buffer.concat([letter("I"), u32(this.oid), letter("N"), this.#tuple(columns)]);
  }

  /** `before`: a K tuple where the key changed, an O tuple under REPLICA IDENTITY FULL. */
  update(columns: Columns, before?: { kind: "K" | "O"; columns: Columns }): Buffer {
    const old = before ? [letter(before.kind), this.#tuple(before.columns)] : [];
    return Buffer.concat([letter("U"), u32(this.oid), ...old, letter("N"), this.#tuple(columns)]);
  }

  delete(columns: Columns, kind: "K" | "O" = "K"): Buffer {
    return Buffer.concat([letter("D"), u32(this.oid), letter(kind), this.#tuple(columns)]);
  }

  #tuple(columns: Columns): Buffer {
    const cells = this.columns.map((name) => {
      const value = name in columns ? columns[name] : null;
      if (value === undefined) return letter("u");
      if (value === null) return letter("n");
      const bytes = Buffer.from(value, "utf8");
      return Buffer.concat([letter("t"), u32(bytes.length), bytes]);
    });
    return Buffer.concat([u16(cells.length), ...cells]);
  }
}
