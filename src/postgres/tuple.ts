// A tuple of pgoutput, read in place: where each cell stands, without making a string of it.
//
// TupleData: https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html

import { NeedsOperator } from "../errors.ts";
import { type Cell, UNCHANGED } from "../change/cells.ts";
import { readBinary } from "./binary.ts";

const NULL_CELL = 0x6e;
const UNCHANGED_CELL = 0x75;
const TEXT_CELL = 0x74;
const BINARY_CELL = 0x62;

/** `t`, as a boolean is written. */
const TRUE_TEXT = 0x74;

/** Marks for cells that have no bytes. */
const IS_NULL = -1;
const IS_UNCHANGED = -2;

/** The tuple at hand. One object for the life of a stream: reading the next tuple forgets the last. */
export class Tuple {
  #starts = new Int32Array(64);
  #lengths = new Int32Array(64);
  /** 1 where the cell is in binary form. */
  #binary = new Uint8Array(64);

  /** Notes where the cells of the tuple at `offset` stand; returns the offset after it. */
  read(message: Buffer, offset: number): number {
    const count = message.readUInt16BE(offset);
    if (count > this.#starts.length) {
      this.#starts = new Int32Array(count * 2);
      this.#lengths = new Int32Array(count * 2);
      this.#binary = new Uint8Array(count * 2);
    }
    let at = offset + 2;
    for (let i = 0; i < count; i += 1) {
      const kind = message[at];
      at += 1;
      if (kind === BINARY_CELL || kind === TEXT_CELL) {
        const length = message.readInt32BE(at);
        this.#starts[i] = at + 4;
        this.#lengths[i] = length;
        this.#binary[i] = kind === BINARY_CELL ? 1 : 0;
        at += 4 + length;
      } else if (kind === NULL_CELL) this.#starts[i] = IS_NULL;
      else if (kind === UNCHANGED_CELL) this.#starts[i] = IS_UNCHANGED;
      else throw unreadable(`a column of kind ${describeTag(kind)}`);
    }
    // Else the last cell would be read short, and silently.
    if (at > message.length) throw unreadable("a row that ends within a column");
    return at;
  }

  /** Whether this column has bytes. */
  has(column: number): boolean {
    return this.start(column) >= 0;
  }

  /** Whether the column is neither NULL nor empty. What was left out because it is unchanged is long, so it is not. */
  says(column: number): boolean {
    const start = this.start(column);
    return start === IS_UNCHANGED || (start >= 0 && this.length(column) > 0);
  }

  /** Whether a column of booleans is true. */
  isTrue(message: Buffer, column: number): boolean {
    const start = this.start(column);
    if (start < 0) return false;
    return this.#binary[column] === 0 ? message[start] === TRUE_TEXT : message[start] !== 0;
  }

  /** Whether a column of text, or of an enum, holds this word. */
  is(message: Buffer, column: number, word: Buffer): boolean {
    const start = this.start(column);
    if (start < 0 || this.#lengths[column] !== word.length) return false;
    for (let i = 0; i < word.length; i += 1) if (message[start + i] !== word[i]) return false;
    return true;
  }

  /** Where the column's bytes begin; negative when it has none. */
  start(column: number): number {
    return this.#starts[column] ?? IS_NULL;
  }

  /** Length of the column's bytes, where it has any. */
  length(column: number): number {
    return this.#lengths[column] ?? 0;
  }

  /** The column's value; `type` is its type's oid. */
  cell(message: Buffer, column: number, type: number): Cell {
    const start = this.start(column);
    if (start === IS_NULL) return null;
    if (start === IS_UNCHANGED) return UNCHANGED;
    const end = start + this.length(column);
    if (this.#binary[column] === 0) return message.toString("utf8", start, end);
    const value = readBinary(message.subarray(start, end), type);
    if (value === undefined)
      throw unreadable(`a column of type ${type} with ${end - start} bytes in binary form`);
    return value;
  }
}

/** A byte of the protocol, for messages. */
export function describeTag(tag: number | undefined): string {
  return tag === undefined ? "(none)" : `0x${tag.toString(16)} '${String.fromCharCode(tag)}'`;
}

/** What this version can not read must stop the stream before anything is acknowledged. */
export function unreadable(what: string): NeedsOperator {
  return new NeedsOperator(`can not read the stream: ${what}`, {
    reason: "protocol",
    hint: "this Firstlight does not know what this server sends; nothing was acknowledged: upgrade Firstlight, or report this",
  });
}

/** A value that can not be read (another DateStyle, a NULL where Coder never has one) must stop the stream, not the process. */
export function asUnreadable(error: unknown): unknown {
  if (error instanceof NeedsOperator) return error;
  return new NeedsOperator(
    `can not read the stream: ${error instanceof Error ? error.message : String(error)}`,
    {
      reason: "protocol",
      hint: "nothing was acknowledged: check that Coder's schema is the one this Firstlight knows, or report this",
      cause: error,
    },
  );
}
