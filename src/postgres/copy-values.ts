// COPY … TO STDOUT (FORMAT binary) with one column, read value by value: the cheapest way to have many small values from SQL.
//
// File format: https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format".

import { Transient } from "../errors.ts";

const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
/** Signature, flags (4 bytes), length of the header's extension (4 bytes). */
const HEADER_BYTES = SIGNATURE.length + 8;
/** Number of columns (2 bytes), length of the value (4 bytes). The trailer is shorter: a number of columns of -1. */
const TUPLE_BYTES = 6;

/** Takes the output apart as it arrives, wherever the network cut it. */
export class CopyValues {
  #rest: Buffer = Buffer.alloc(0);
  #begun = false;

  /** Calls back with each value that is complete; it is valid only during the call. */
  read(chunk: Buffer, onValue: (value: Buffer) => void): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = this.#begun ? 0 : this.#header(bytes);
    while (this.#begun && bytes.length - at >= TUPLE_BYTES) {
      const end = at + TUPLE_BYTES + bytes.readInt32BE(at + 2);
      if (end > bytes.length) break;
      onValue(bytes.subarray(at + TUPLE_BYTES, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }

  /** To be called at the end. Throws `Transient` when the output ended before its trailer. */
  end(): void {
    if (!this.#begun || this.#rest.length !== 2 || this.#rest.readInt16BE() !== -1)
      throw new Transient("the answer to a COPY is cut off", { reason: "connection_lost" });
  }

  /** Where the first tuple begins; 0 while the header is not complete. */
  #header(bytes: Buffer): number {
    if (bytes.length < HEADER_BYTES) return 0;
    if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE))
      throw new TypeError("this is not the binary form of COPY");
    const extension = bytes.readUInt32BE(HEADER_BYTES - 4);
    if (bytes.length < HEADER_BYTES + extension) return 0;
    this.#begun = true;
    return HEADER_BYTES + extension;
  }
}
