// pgoutput (protocol version 1, text) to transactions with news, and the sieve.
//
// More than 99.9 % of the changes are heartbeats. They are recognised from offsets alone and dropped here: no object, no
// string. What passes may turn out to be no news; what is news always passes.
//
// Message formats: https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html

import { NeedsOperator } from "../errors.ts";
import { type Lsn, ZERO_LSN, toLsn } from "../lsn.ts";
import type { StreamCounts } from "../change/counts.ts";
import {
  type Cell,
  type Cells,
  type OnUnknown,
  UNCHANGED,
  agentRow,
  buildRow,
  jobRow,
} from "../change/cells.ts";
import { type Micros, POSTGRES_EPOCH, SECOND, parseTimestamptz } from "../change/micros.ts";
import { type Row, TABLES, type Table, type Tx } from "../change/row.ts";
import type { TimeCells, Waiting } from "../change/waiting.ts";

/**
 * A completed job's row is repeated by later writes (log lengths, migrations over the whole table). One that nobody waits
 * for is news when its completion is another than the one remembered; where none is remembered any more, while the
 * completion is about as young as the transaction, as a late or repeated one by Coder is.
 */
const FRESH: Micros = 3_600 * SECOND;

/** Rows of one transaction go on in causal order, whatever the order of its statements. */
const CAUSAL: Readonly<Record<Row["kind"], number>> = { build: 0, job: 1, agent: 2, gone: 3 };

/** Columns without which nothing can be derived; `setup` publishes them and more. */
const NEEDED: Readonly<Record<Table, readonly string[]>> = {
  workspace_builds: [
    "id",
    "created_at",
    "workspace_id",
    "template_version_id",
    "build_number",
    "transition",
    "initiator_id",
    "job_id",
    "reason",
    "template_version_preset_id",
  ],
  provisioner_jobs: [
    "id",
    "created_at",
    "started_at",
    "canceled_at",
    "completed_at",
    "error",
    "error_code",
    "type",
    "provisioner",
    "initiator_id",
    "worker_id",
  ],
  workspace_agents: [
    "id",
    "created_at",
    "name",
    "first_connected_at",
    "resource_id",
    "parent_id",
    "lifecycle_state",
    "ready_at",
    "deleted",
  ],
};

interface Relation {
  /** Null: a table that is none of ours; its rows are skipped. */
  readonly table: Table | null;
  readonly columns: ReadonlyMap<string, number>;
  /** Column numbers that the sieve looks at. */
  readonly id: number;
  readonly watched: number;
}

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

const NULL_CELL = 0x6e;
const UNCHANGED_CELL = 0x75;
const TEXT_CELL = 0x74;
const KEY_TUPLE = 0x4b;
const OLD_TUPLE = 0x4f;
const NEW_TUPLE = 0x4e;

/** Marks in the cell index for what has no bytes. */
const IS_NULL = -1;
const IS_UNCHANGED = -2;

export interface DecoderOptions {
  /** Which ids the sieve lets through; the decoder adds those that begin to wait. */
  readonly waiting: Waiting;
  readonly counts: StreamCounts;
  /** Told of every enum value that this version does not know. */
  readonly onUnknown: OnUnknown;
}

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
  /** Start and length of each cell of the tuple at hand; the start is negative for cells without bytes. */
  #starts = new Int32Array(64);
  #lengths = new Int32Array(64);

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

  /** News of the open transaction so far, for bounding memory. */
  get openRows(): number {
    return this.#rows.length;
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
    const rows = this.#rows.sort((a, b) => CAUSAL[a.kind] - CAUSAL[b.kind]);
    this.#rows = [];
    return { xid: this.#xid, end: this.#end, at: this.#at, rows };
  }

  #relation(message: Buffer): null {
    const namespaceEnd = message.indexOf(0, 5);
    const nameEnd = message.indexOf(0, namespaceEnd + 1);
    const name = message.toString("utf8", namespaceEnd + 1, nameEnd);
    const table = TABLES.find((known) => known === name) ?? null;
    const count = message.readUInt16BE(nameEnd + 2);
    const columns = new Map<string, number>();
    let offset = nameEnd + 4;
    for (let i = 0; i < count; i += 1) {
      const end = message.indexOf(0, offset + 1);
      columns.set(message.toString("utf8", offset + 1, end), i);
      offset = end + 9;
    }
    if (count > this.#starts.length) {
      this.#starts = new Int32Array(count * 2);
      this.#lengths = new Int32Array(count * 2);
    }
    this.#relations.set(message.readUInt32BE(1), describeRelation(table, columns));
    return null;
  }

  #insert(message: Buffer): null {
    const relation = this.#relationOf(message);
    if (relation.table === null) return null;
    this.#counts.changes[relation.table].insert += 1;
    this.#index(message, 6);
    const cells = this.#cells(message, relation);
    switch (relation.table) {
      case "workspace_builds": {
        const row = buildRow(cells, this.#onUnknown);
        this.#waiting.addJob(row.job);
        this.#rows.push(row);
        return null;
      }
      case "provisioner_jobs":
        if (this.#has(relation.watched)) this.#rows.push(jobRow(cells));
        return null;
      case "workspace_agents": {
        const row = agentRow(cells, true);
        if (row.firstConnectedAt === null) this.#waiting.addAgent(row.id);
        this.#rows.push(row);
        return null;
      }
    }
  }

  #update(message: Buffer): null {
    const relation = this.#relationOf(message);
    if (relation.table === null) return null;
    this.#counts.changes[relation.table].update += 1;
    let offset = 5;
    if (message[offset] === KEY_TUPLE || message[offset] === OLD_TUPLE) {
      const keyChanged = message[offset] === KEY_TUPLE;
      offset = this.#index(message, offset + 1);
      if (keyChanged) this.#gone(message, relation, relation.table);
    }
    if (message[offset] !== NEW_TUPLE)
      throw unreadable(`an UPDATE with tuple ${describeTag(message[offset])}`);
    this.#index(message, offset + 1);
    // All columns of a build are immutable, and a row without its watched time has no news.
    if (relation.table === "workspace_builds" || !this.#has(relation.watched)) return null;
    if (relation.table === "provisioner_jobs") this.#completedJob(message, relation);
    else this.#connectedAgent(message, relation);
    return null;
  }

  #completedJob(message: Buffer, relation: Relation): void {
    const id = this.#text(message, relation.id);
    const cells = this.#timeCells(relation);
    if (!this.#waiting.hasJob(id)) {
      const changed = this.#waiting.changed(message, cells);
      if (changed === false) return;
      if (changed === undefined && !this.#isFresh(message, relation)) return;
    }
    this.#waiting.forgetJob(id);
    this.#waiting.remember(message, cells);
    this.#rows.push(jobRow(this.#cells(message, relation)));
  }

  #isFresh(message: Buffer, relation: Relation): boolean {
    return this.#at - parseTimestamptz(this.#text(message, relation.watched)) <= FRESH;
  }

  #connectedAgent(message: Buffer, relation: Relation): void {
    if (!this.#waiting.isNews(message, this.#timeCells(relation))) return;
    this.#rows.push(agentRow(this.#cells(message, relation), false));
  }

  #timeCells({ id, watched }: Relation): TimeCells {
    return {
      id: this.#starts[id] ?? IS_NULL,
      time: this.#starts[watched] ?? IS_NULL,
      length: this.#lengths[watched] ?? 0,
    };
  }

  #delete(message: Buffer): null {
    const relation = this.#relationOf(message);
    if (relation.table === null) return null;
    this.#counts.changes[relation.table].delete += 1;
    this.#index(message, 6);
    this.#gone(message, relation, relation.table);
    return null;
  }

  #gone(message: Buffer, relation: Relation, table: Table): void {
    if (this.#has(relation.id))
      this.#rows.push({ kind: "gone", table, id: this.#text(message, relation.id) });
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

  /** Notes where each cell of the tuple at `offset` stands; returns the offset after it. */
  #index(message: Buffer, offset: number): number {
    const count = message.readUInt16BE(offset);
    let at = offset + 2;
    for (let i = 0; i < count; i += 1) {
      const kind = message[at];
      at += 1;
      if (kind === TEXT_CELL) {
        const length = message.readInt32BE(at);
        this.#starts[i] = at + 4;
        this.#lengths[i] = length;
        at += 4 + length;
      } else if (kind === NULL_CELL) this.#starts[i] = IS_NULL;
      else if (kind === UNCHANGED_CELL) this.#starts[i] = IS_UNCHANGED;
      else throw unreadable(`a column of kind ${describeTag(kind)}`);
    }
    // Else the last cell would be read short, and silently.
    if (at > message.length) throw unreadable("a row that ends within a column");
    return at;
  }

  #has(column: number): boolean {
    return (this.#starts[column] ?? IS_NULL) >= 0;
  }

  #text(message: Buffer, column: number): string {
    const start = this.#starts[column] ?? 0;
    return message.toString("utf8", start, start + (this.#lengths[column] ?? 0));
  }

  #cells(message: Buffer, relation: Relation): Cells {
    return (name): Cell => {
      const column = relation.columns.get(name);
      if (column === undefined) throw new TypeError(`column ${name} is not in the stream`);
      const start = this.#starts[column] ?? IS_NULL;
      if (start === IS_NULL) return null;
      if (start === IS_UNCHANGED) return UNCHANGED;
      // Free text of any size: only whether it is empty is anybody's business.
      if (name === "error") return this.#lengths[column] === 0 ? "" : "set";
      return this.#text(message, column);
    };
  }
}

function describeRelation(table: Table | null, columns: ReadonlyMap<string, number>): Relation {
  if (table === null) return { table, columns, id: 0, watched: 0 };
  const missing = NEEDED[table].filter((name) => !columns.has(name));
  if (missing.length > 0) {
    throw new NeedsOperator(`the stream of ${table} lacks ${missing.join(", ")}`, {
      reason: "column_missing",
      hint: "the publication or Coder's schema changed: run `firstlight setup` and compare; Coder 2.24 or newer has every column that is needed",
    });
  }
  const watched = {
    workspace_builds: "id",
    provisioner_jobs: "completed_at",
    workspace_agents: "first_connected_at",
  };
  return { table, columns, id: columns.get("id") ?? 0, watched: columns.get(watched[table]) ?? 0 };
}

/** Times on the wire: microseconds since 2000-01-01. Exact below 2^53, which is until the year 2255. */
function timeAt(message: Buffer, offset: number): Micros {
  return Number(message.readBigInt64BE(offset)) + POSTGRES_EPOCH;
}

function describeTag(tag: number | undefined): string {
  return tag === undefined ? "(none)" : `0x${tag.toString(16)} '${String.fromCharCode(tag)}'`;
}

function unreadable(what: string): NeedsOperator {
  return new NeedsOperator(`can not read the stream: ${what}`, {
    reason: "protocol",
    hint: "this Firstlight does not know what this server sends; nothing was acknowledged: upgrade Firstlight, or report this",
  });
}
