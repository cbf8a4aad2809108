// The sieve's memory: which ids wait for news. Everything else can only repeat itself and is dropped unread. A job that runs is news
// where it is not known to run: one that nobody has told of, of an import that waited through a restart, is news too.
//
// Agents may wait by the hundred thousand (older Coder releases make agents that never connect), so they are kept as
// 30-bit fingerprints, each as often as it was added. A collision lets a row through that derivation then ignores; it never hides one,
// because a fingerprint is only taken away by the very id that put it there. All that an agent waits for is in one set, so that its
// heartbeats ask one question.

import { Fingerprints } from "./fingerprints.ts";
import type { Uuid } from "./row.ts";
import { Running } from "./running.ts";
import { Starting } from "./starting.ts";
import { type StartCells, overWordOf } from "./start.ts";

/** Ids whose final time is watched for rewrites; the older half is forgotten when the younger is full. */
const RECENT = 4_096;

/** Where an id and the time that makes it final (first_connected_at, completed_at) stand in a message. */
export interface TimeCells {
  readonly id: number;
  /** 16: the id is in binary form; 36: as Postgres prints it. */
  readonly idLength: number;
  readonly time: number;
  /** 0: the time is NULL, so it was never set or has been taken back. */
  readonly length: number;
  /** A small number for whatever else makes the row final; 0 if nothing does. */
  readonly also: number;
}

export class Waiting {
  readonly #jobs = new Set<Uuid>();
  readonly #running = new Running();
  /** Agents, once for each thing that they wait for: their first connection, and what `#starting` says. */
  readonly #agents = new Fingerprints();
  readonly #starting = new Starting(this.#agents);
  #recent = new Map<number, number>();
  #older = new Map<number, number>();

  /** A job whose end is news, however late it comes. */
  addJob(id: Uuid): void {
    this.#jobs.add(id);
  }

  hasJob(id: Uuid): boolean {
    return this.#jobs.has(id);
  }

  forgetJob(id: Uuid): void {
    this.#jobs.delete(id);
    this.#running.delete(fingerprintOf(id), id);
  }

  /** A job that is known to run, and to be canceled or not: from here on only its end is news, and what differs from that. */
  addRunning(id: Uuid, canceling: boolean): void {
    this.addJob(id);
    this.#running.add(fingerprintOf(id), id, canceling);
  }

  /** Whether the row of a job that runs tells no more than that it runs, and is canceled or not, as is known. */
  knowsRunning(bytes: Buffer, cells: TimeCells, canceling: boolean): boolean {
    return this.#running.knows(idPrint(bytes, cells.id, cells.idLength), bytes, cells, canceling);
  }

  /** An agent whose first connection is news. Each call needs one `forgetAgent` of the same id. */
  addAgent(id: Uuid): void {
    this.#agents.add(fingerprintOf(id));
  }

  forgetAgent(id: Uuid): void {
    this.#agents.delete(fingerprintOf(id));
  }

  /** An agent whose start is news once it is over. Each call needs one `forgetStarting` of the same id. */
  addStarting(id: Uuid): void {
    this.#starting.add(fingerprintOf(id));
  }

  forgetStarting(id: Uuid): void {
    this.#starting.delete(fingerprintOf(id));
  }

  /** An agent whose start has timed out: news once it is over after all. Each call needs one `forgetLate` of the same id. */
  addLate(id: Uuid): void {
    this.#starting.addLate(fingerprintOf(id));
  }

  forgetLate(id: Uuid): void {
    this.#starting.deleteLate(fingerprintOf(id));
  }

  /** One that was added because it starts once more: to be forgotten when that is over. */
  startsAgain(id: Uuid): void {
    this.#starting.again(id);
  }

  /** Its start is over: forgets it as often as it was told to start once more. */
  startedAgain(id: Uuid): void {
    this.#starting.endAgain(id, fingerprintOf(id));
  }

  /**
   * Whether an agent's row may be news: it has connected and waited for that, or it connected a little while ago and the
   * time is another now (two overlapping connections each write the one they remember), or none any more; or its start is over,
   * which was waited for, or it starts where nobody waits for that, so once more.
   */
  isNews(bytes: Buffer, cells: TimeCells, start: StartCells = NO_START): boolean {
    const print = idPrint(bytes, cells.id, cells.idLength);
    const waits = this.#agents.has(print);
    const starts = this.#startIsNews(print, bytes, start, waits);
    const awaited = waits && cells.length > 0 && this.#connects(print);
    const changed = this.#changed(print, bytes, cells);
    // Whatever was there before it, what `also` says is told at least once.
    if (!awaited && !(changed ?? cells.also !== 0)) return starts;
    this.#remember(print, bytes, cells);
    return true;
  }

  #startIsNews(print: number, bytes: Buffer, start: StartCells, waits: boolean): boolean {
    if (start.begins) return !waits || this.#starting.begins(print);
    if (!waits) return false;
    const word = overWordOf(bytes, start);
    if (word === null) return false;
    const told = cellPrint(bytes, start.ready, start.readyLength) ^ word.length;
    return this.#starting.isOver(print, word, told);
  }

  /** Whether one of those that wait waits for its connection. */
  #connects(print: number): boolean {
    return this.#agents.count(print) > this.#starting.count(print);
  }

  /** Whether what was last remembered for this id is another time or end; undefined when nothing is remembered any more. */
  changed(bytes: Buffer, cells: TimeCells): boolean | undefined {
    return this.#changed(idPrint(bytes, cells.id, cells.idLength), bytes, cells);
  }

  /** Remembers the final time of an id for a while, so that a rewrite of it is noticed. */
  remember(bytes: Buffer, cells: TimeCells): void {
    this.#remember(idPrint(bytes, cells.id, cells.idLength), bytes, cells);
  }

  #changed(print: number, bytes: Buffer, cells: TimeCells): boolean | undefined {
    const before = this.#recent.get(print) ?? this.#older.get(print);
    return before === undefined ? undefined : before !== finalPrint(bytes, cells);
  }

  #remember(print: number, bytes: Buffer, cells: TimeCells): void {
    if (this.#recent.size >= RECENT) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(print, finalPrint(bytes, cells));
  }
}

function finalPrint(bytes: Buffer, { time, length, also }: TimeCells): number {
  return cellPrint(bytes, time, length) ^ also;
}

function cellPrint(bytes: Buffer, start: number, length: number): number {
  let hash = FNV_OFFSET;
  for (let i = start; i < start + length; i += 1) hash = mix(hash, bytes[i] ?? 0);
  return fold(hash);
}

function fingerprintOf(id: Uuid): number {
  return idPrint(Buffer.from(id, "latin1"), 0, id.length);
}

/** Of the sixteen bytes of an id, in whichever form it comes: what waits is told in text, the stream is binary. */
function idPrint(bytes: Buffer, offset: number, length: number): number {
  let hash = FNV_OFFSET;
  if (length === UUID_BYTES) {
    for (let i = offset; i < offset + length; i += 1) hash = mix(hash, bytes[i] ?? 0);
    return fold(hash);
  }
  let high = -1;
  for (let i = offset; i < offset + length; i += 1) {
    const nibble = nibbleOf(bytes[i] ?? 0);
    if (nibble < 0) continue;
    if (high < 0) high = nibble;
    else {
      hash = mix(hash, high * 16 + nibble);
      high = -1;
    }
  }
  return fold(hash);
}

/** What a hexadecimal digit is worth; negative for a dash. */
function nibbleOf(digit: number): number {
  if (digit === DASH) return -1;
  return digit < 0x3a ? digit - 0x30 : (digit | 0x20) - 0x57;
}

const NO_START: StartCells = {
  begins: false,
  state: 0,
  stateLength: 0,
  ready: 0,
  readyLength: 0,
};

const UUID_BYTES = 16;
const DASH = 0x2d;

// FNV-1a, cut to 30 bits so that it stays a small integer.
const FNV_OFFSET = 0x811c9dc5;
const mix = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193);
const fold = (hash: number): number => (hash ^ (hash >>> 30)) & 0x3fffffff;
