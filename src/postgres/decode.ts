// pgoutput (protocol version 1, tuples in text or binary form) to transactions with news, and the sieve.
//
// More than 99.9 % of the changes are heartbeats. They are recognised from offsets alone and dropped here: no object, no
// string. What passes may turn out to be no news; what is news always passes.
//
// Message formats: https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html

import { type Lsn, ZERO_LSN, toLsn } from "../lsn.ts";
import type { StreamCounts } from "../change/counts.ts";
import {
  type Cell,
  type Cells,
  type OnUnknown,
  agentRow,
  buildRow,
  jobRow,
  time,
  uuid,
} from "../change/cells.ts";
import { type Micros, POSTGRES_EPOCH, SECOND } from "../change/micros.ts";
import { type Row, TABLES, type Table, type Tx } from "../change/row.ts";
import type { StartCells } from "../change/start.ts";
import type { TimeCells, Waiting } from "../change/waiting.ts";
import { type Relation, readRelation } from "./relation.ts";
import { Tuple, describeTag, unreadable } from "./tuple.ts";

/**
 * A completed job's row is repeated by later writes (log lengths, migrations over the whole table). One that nobody waits
 * for is news when its end is another than the one remembered; where none is remembered any more, while the completion
 * is about as young as the transaction, as a late or repeated one by Coder is.
 */
const FRESH: Micros = 3_600 * SECOND;

/** The columns that, with the time of completion, decide how a job ended. */
const ENDING = ["error", "error_code", "canceled_at", "worker_id"] as const;

/**
 * Rows of one transaction go on in causal order, whatever the order of its statements. Those of one table keep theirs: a row
 * that is deleted and inserted again is there, one that is inserted and deleted is not.
 */
const causal = (row: Row): number =>
  row.kind === "gone" ? TABLES.indexOf(row.table) : CAUSAL[row.kind];
const CAUSAL = { build: 0, job: 1, agent: 2 } as const;

const TAG = {
  begin: 0x42,
  commit: 0x43,
  delete: 0x44,
  insert: 0x49,
  message: 0x4d,
  origin: 0x4f,
  relation: 0x52,
  truncate: 0x54,
  update: 0x55,
  type: 0x59,
} as const;

const KEY_TUPLE = 0x4b;
const OLD_TUPLE = 0x4f;
const NEW_TUPLE = 0x4e;

export interface DecoderOptions {
  /** Which ids the sieve lets through; the decoder adds those that begin to wait. */
  readonly waiting: Waiting;
  readonly counts: StreamCounts;
  /** Told of every enum value that this version does not know. */
  readonly onUnknown: OnUnknown;
}

/** Of a sub-agent that is deleted, while its build goes on. */
const GONE = 1;

/** As an enum's label is sent, in text and in binary form alike. */
const STARTING = Buffer.from("starting", "latin1");

/** Decodes one stream. Not reusable for another: relations and an open transaction belong to the connection. */
export class Decoder {
  readonly #waiting: Waiting;
  readonly #counts: StreamCounts;
  readonly #onUnknown: OnUnknown;
  readonly #relations = new Map<number, Relation>();
  #open = false;
  #end: Lsn = ZERO_LSN;
  #xid = 0;
  #at: Micros = 0;
  #rows: Row[] = [];
  readonly #tuple = new Tuple();
  /** One object for the life of a stream: there is one for every heartbeat. */
  readonly #timeCells: Writable<TimeCells> = { id: 0, idLength: 0, time: 0, length: 0, also: 0 };
  readonly #startCells: Writable<StartCells> = {
    begins: false,
    state: 0,
    stateLength: 0,
    ready: 0,
    readyLength: 0,
  };

  constructor(options: DecoderOptions) {
    this.#waiting = options.waiting;
    this.#counts = options.counts;
    this.#onUnknown = options.onUnknown;
  }

  /** Whether a transaction has begun and not ended. */
  get open(): boolean {
    return this.#open;
  }

  /** End of the last complete transaction; 0/0 before the first. */
  get end(): Lsn {
    return this.#end;
  }

  /**
   * Takes one message (the payload of XLogData, valid only during the call). Returns the transaction at its Commit if it
   * has news, otherwise null. Throws `NeedsOperator` on what this version can not read; nothing may be acknowledged then.
   */
  decode(message: Buffer): Tx | null {
    switch (message[0]) {
      case TAG.begin:
        return this.#begin(message);
      case TAG.commit:
        return this.#commit(message);
      case TAG.relation:
        return this.#relation(message);
      case TAG.insert:
        return this.#insert(message);
      case TAG.update:
        return this.#update(message);
      case TAG.delete:
        return this.#delete(message);
      case TAG.truncate:
        return this.#truncate(message);
      case TAG.origin:
      case TAG.type:
      case TAG.message:
        return null;
      default:
        throw unreadable(`unknown pgoutput message ${describeTag(message[0])}`);
    }
  }

  #begin(message: Buffer): null {
    this.#open = true;
    this.#at = timeAt(message, 9);
    this.#xid = message.readUInt32BE(17);
    return null;
  }

  #commit(message: Buffer): Tx | null {
    this.#open = false;
    this.#end = toLsn(message.readBigUInt64BE(10));
    this.#counts.transactions += 1;
    if (this.#rows.length === 0) return null;
    const rows = this.#rows.sort((a, b) => causal(a) - causal(b));
    this.#rows = [];
    return { xid: this.#xid, end: this.#end, at: this.#at, rows };
  }

  #relation(message: Buffer): null {
    const relation = readRelation(message);
    this.#relations.set(relation.oid, relation);
    return null;
  }

  #insert(message: Buffer): null {
    const relation = this.#relationOf(message);
    this.#counts.changes[relation.table].insert += 1;
    this.#tuple.read(message, 6);
    const cells = this.#cells(message, relation);
    switch (relation.table) {
      case "workspace_builds": {
        const row = buildRow(cells, this.#onUnknown);
        this.#waiting.addJob(row.job);
        this.#rows.push(row);
        return null;
      }
      case "provisioner_jobs":
        if (this.#tuple.has(relation.watched)) this.#rows.push(jobRow(cells, this.#onUnknown));
        else if (this.#runs(relation)) this.#running(message, relation);
        else this.#waiting.addJob(this.#id(message, relation));
        return null;
      case "workspace_agents": {
        const row = agentRow(cells, true);
        if (row.firstConnectedAt === null) this.#waiting.addAgent(row.id);
        if (row.parent === null) this.#waiting.addStarting(row.id);
        this.#rows.push(row);
        return null;
      }
    }
  }

  #update(message: Buffer): null {
    const relation = this.#relationOf(message);
    this.#counts.changes[relation.table].update += 1;
    let offset = 5;
    if (message[offset] === KEY_TUPLE || message[offset] === OLD_TUPLE) {
      const keyChanged = message[offset] === KEY_TUPLE;
      offset = this.#tuple.read(message, offset + 1);
      if (keyChanged) this.#gone(message, relation, relation.table);
    }
    if (message[offset] !== NEW_TUPLE)
      throw unreadable(`an UPDATE with tuple ${describeTag(message[offset])}`);
    this.#tuple.read(message, offset + 1);
    if (relation.table === "provisioner_jobs") this.#updatedJob(message, relation);
    else if (relation.table === "workspace_agents") this.#updatedAgent(message, relation);
    // All columns of a build are immutable.
    return null;
  }

  #updatedJob(message: Buffer, relation: Relation): void {
    const ended = this.#tuple.has(relation.watched);
    const cells = this.#timeCellsOf(relation, ended ? this.#otherEnd(relation) : 0);
    if (!ended && this.#runs(relation)) {
      // It says so every few seconds; that it was taken, or is canceled, is news once.
      if (this.#waiting.knowsRunning(message, cells, this.#tuple.has(relation.canceled))) return;
      this.#running(message, relation, this.#waiting.changed(message, cells) === true);
      return;
    }
    // A job that waits for a worker has nothing to say; one whose end was taken back has.
    if (!ended && !this.#waiting.changed(message, cells)) return;
    const id = this.#id(message, relation);
    if (ended && !this.#waiting.hasJob(id)) {
      const changed = this.#waiting.changed(message, cells);
      if (changed === false) return;
      if (changed === undefined && !this.#isFresh(message, relation)) return;
    }
    if (ended) this.#waiting.forgetJob(id);
    this.#waiting.remember(message, cells);
    const row = jobRow(this.#cells(message, relation), this.#onUnknown);
    this.#rows.push(ended ? row : { ...row, isOpen: true });
  }

  /** Whether a worker has the job, if it has not ended: both are set by one statement. */
  #runs({ started, worker }: Relation): boolean {
    return this.#tuple.has(started) && this.#tuple.has(worker);
  }

  #running(message: Buffer, relation: Relation, isOpen = false): void {
    const row = { ...jobRow(this.#cells(message, relation), this.#onUnknown), isOpen };
    this.#waiting.addRunning(row.id, row.canceledAt !== null);
    this.#rows.push(row);
  }

  #isFresh(message: Buffer, relation: Relation): boolean {
    return this.#at - time(this.#cells(message, relation), "completed_at") <= FRESH;
  }

  /** What makes an end beside its time: which of these columns say anything. */
  #otherEnd({ columns }: Relation): number {
    return ENDING.reduce(
      (bits, name) => bits * 2 + (this.#tuple.says(columns.get(name) ?? 0) ? 1 : 0),
      0,
    );
  }

  #updatedAgent(message: Buffer, relation: Relation): void {
    // Other agents are deleted when a newer build, which brings its own, has ended; at an upgrade of Coder all of them at once.
    const gone = this.#tuple.isTrue(message, relation.deleted) && this.#tuple.has(relation.parent);
    const start = this.#startCellsOf(message, relation);
    if (!this.#waiting.isNews(message, this.#timeCellsOf(relation, gone ? GONE : 0), start)) return;
    const row = agentRow(this.#cells(message, relation), false);
    // Told once: what follows is news when it is over.
    if (start.begins) this.#waiting.addStarting(row.id);
    this.#rows.push(row);
  }

  #startCellsOf(message: Buffer, { parent, watched, lifecycle, ready }: Relation): StartCells {
    const tuple = this.#tuple;
    const cells = this.#startCells;
    const over = tuple.has(ready) && !tuple.has(parent);
    cells.state = tuple.start(lifecycle);
    cells.stateLength = over ? tuple.length(lifecycle) : 0;
    cells.ready = tuple.start(ready);
    cells.readyLength = over ? tuple.length(ready) : 0;
    // Who never connected can not have told that it starts.
    cells.begins =
      tuple.is(message, lifecycle, STARTING) &&
      tuple.has(watched) &&
      !tuple.has(ready) &&
      !tuple.has(parent);
    return cells;
  }

  #timeCellsOf({ id, watched }: Relation, also: number): TimeCells {
    const tuple = this.#tuple;
    const cells = this.#timeCells;
    cells.id = tuple.start(id);
    cells.idLength = tuple.length(id);
    cells.time = tuple.start(watched);
    cells.length = tuple.has(watched) ? tuple.length(watched) : 0;
    cells.also = also;
    return cells;
  }

  #delete(message: Buffer): null {
    const relation = this.#relationOf(message);
    this.#counts.changes[relation.table].delete += 1;
    this.#tuple.read(message, 6);
    this.#gone(message, relation, relation.table);
    return null;
  }

  #gone(message: Buffer, relation: Relation, table: Table): void {
    if (this.#tuple.has(relation.id))
      this.#rows.push({ kind: "gone", table, id: this.#id(message, relation) });
  }

  #truncate(message: Buffer): null {
    const count = message.readUInt32BE(1);
    for (let i = 0; i < count; i += 1) {
      const table = this.#relations.get(message.readUInt32BE(6 + i * 4))?.table;
      if (table) this.#counts.changes[table].truncate += 1;
    }
    return null;
  }

  #relationOf(message: Buffer): Relation {
    const relation = this.#relations.get(message.readUInt32BE(1));
    if (!relation) throw unreadable("a row of a relation that was not described");
    return relation;
  }

  #cells(message: Buffer, relation: Relation): Cells {
    return (name): Cell => {
      const column = relation.columns.get(name);
      if (column === undefined) throw new TypeError(`column ${name} is not in the stream`);
      // Free text of any size: only whether it is empty is anybody's business.
      if (name === "error" && this.#tuple.has(column))
        return this.#tuple.length(column) === 0 ? "" : "set";
      return this.#tuple.cell(message, column, relation.types[column] ?? 0);
    };
  }

  #id(message: Buffer, relation: Relation): string {
    return uuid(this.#cells(message, relation), "id");
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Times on the wire: microseconds since 2000-01-01. Exact below 2^53, which is until the year 2255. */
function timeAt(message: Buffer, offset: number): Micros {
  return Number(message.readBigInt64BE(offset)) + POSTGRES_EPOCH;
}
