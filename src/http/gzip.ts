// The exposition as gzip, made of pieces that are kept: a part that has not changed since it was last asked for is not
// rendered and not compressed again.
//
// All is one gzip member, since curl reads only the first of several (tried: 7.88). Each piece is raw deflate that ends on a
// byte, refers to nothing before itself, and is not marked as the last, so pieces can follow each other in any order.

import { promisify } from "node:util";
import { constants, crc32, deflateRaw } from "node:zlib";
import { type Part, packed } from "../metrics/exposition.ts";
import { appendCrc32 } from "./crc32.ts";

/** RFC 1952: magic, deflate, no flags, no time, fastest, unknown system. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff);
/** An empty block that is marked as the last. */
const LAST_BLOCK = [3, 0];
/** Level 1: the text is so repetitive that level 6 takes three times as long for a fifth less. */
const SETTINGS = { level: 1, finishFlush: constants.Z_SYNC_FLUSH };

const deflate = promisify<Uint8Array, typeof SETTINGS, Buffer>(deflateRaw);

interface Piece {
  readonly compressed: Buffer;
  readonly crc: number;
  /** Bytes before compression. */
  readonly size: number;
}

interface Kept {
  readonly count: number;
  readonly piece: Promise<Piece>;
}

/** Compressed pieces of one exposition: of one catalog, under one prefix. */
export class GzipCache {
  /** By what a part is of; goes with it. A thirtieth of the text. */
  readonly #kept = new WeakMap<object, Kept>();
  readonly #buffer: Buffer;
  #last: Promise<unknown> = Promise.resolve();

  /** `chunkBytes`: how much is rendered before others may run. */
  constructor(chunkBytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(chunkBytes);
  }

  /** The parts as one gzip file, piece by piece. Compression runs off the main thread. */
  async *gzip(parts: Iterable<Part>): AsyncGenerator<Uint8Array> {
    let crc = 0;
    let size = 0;
    yield HEADER;
    for (const part of parts) {
      const piece = await this.#pieceOf(part);
      if (piece.size === 0) continue;
      crc = appendCrc32(crc, piece.crc, piece.size);
      size += piece.size;
      yield piece.compressed;
    }
    const trailer = Buffer.from([...LAST_BLOCK, 0, 0, 0, 0, 0, 0, 0, 0]);
    trailer.writeUInt32LE(crc, LAST_BLOCK.length);
    trailer.writeUInt32LE(size % 2 ** 32, LAST_BLOCK.length + 4);
    yield trailer;
  }

  #pieceOf(part: Part): Promise<Piece> {
    const kept = this.#kept.get(part.of);
    if (kept?.count === part.count) return kept.piece;
    // One after the other: there is one buffer, and two scrapers need the same pieces. Also after one that failed.
    const piece = this.#last.then(() => this.#compress(part));
    this.#last = piece.catch(() => this.#kept.delete(part.of));
    this.#kept.set(part.of, { count: part.count, piece });
    return piece;
  }

  async #compress(part: Part): Promise<Piece> {
    const outputs: Buffer[] = [];
    let crc = 0;
    let size = 0;
    for (const chunk of packed(part, this.#buffer)) {
      crc = crc32(chunk, crc);
      size += chunk.length;
      outputs.push(await deflate(chunk, SETTINGS));
    }
    return { compressed: Buffer.concat(outputs), crc, size };
  }
}
