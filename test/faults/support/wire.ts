// The frontend's side of the Postgres protocol, read from a byte stream: whole messages, and what tests ask of them.
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { type Lsn, parseLsn, toLsn } from "../../../src/lsn.ts";

/** As in `SESSION_SETTINGS`. */
const WAL_SENDER_TIMEOUT = "('wal_sender_timeout', '60s'";

/** Splits what a client sends into whole messages. The first has no type byte: the startup packet. */
export class Messages {
  #rest = Buffer.alloc(0);
  #started = false;

  /** Messages that this chunk completes; what is left waits for the next one. */
  *take(chunk: Buffer): Generator<Buffer> {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const typed = this.#started ? 1 : 0;
      if (this.#rest.length < typed + 4) return;
      const length = typed + this.#rest.readUInt32BE(typed);
      if (this.#rest.length < length) return;
      const message = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      this.#started = true;
      yield message;
    }
  }
}

/** Whether a startup packet asks for a walsender. */
export function isReplication(startup: Buffer): boolean {
  return startup.includes("replication\0database\0");
}

/** The text of a simple query; null for other messages. */
export function queryText(message: Buffer): string | null {
  return message[0] === 0x51 ? message.toString("utf8", 5, message.length - 1) : null;
}

/** What a client says of how far it is: the standby status update. */
export interface Status {
  readonly write: Lsn;
  readonly flush: Lsn;
  readonly apply: Lsn;
  readonly replyWanted: boolean;
}

/** A standby status update (CopyData that begins with 'r'); null for other messages. */
export function statusOf(message: Buffer): Status | null {
  if (message[0] !== 0x64 || message[5] !== 0x72) return null;
  const at = (offset: number): Lsn => toLsn(message.readBigUInt64BE(offset));
  return { write: at(6), flush: at(14), apply: at(22), replyWanted: message[38] === 1 };
}

/** Whether a message begins to read a slot: as a stream, or as a burst. */
export function readsSlot(message: Buffer): boolean {
  const text = queryText(message) ?? "";
  return text.startsWith("START_REPLICATION") || text.includes("pg_logical_slot_peek_");
}

const ADVANCE = "pg_replication_slot_advance(";
const PARSE = 0x50;
const BIND = 0x42;

/** What a client acknowledges on one connection, however: by a status update of a stream, or by moving the slot in SQL. */
export class Acknowledgements {
  #advances = false;

  /** The position that this message acknowledges; null for other messages. */
  take(message: Buffer): Lsn | null {
    const status = statusOf(message);
    if (status) return status.flush;
    if (message[0] === PARSE) this.#advances = message.includes(ADVANCE);
    const asked = message[0] === BIND ? this.#advances : queryText(message)?.includes(ADVANCE);
    if (!asked) return null;
    const text = message.toString("latin1");
    const [position] = /[0-9A-F]+\/[0-9A-F]+/.exec(text) ?? [];
    return position === undefined ? null : parseLsn(position);
  }
}

/**
 * The settings that each session begins with, with another `wal_sender_timeout` (at most three characters): what a server does
 * at its own limit can be seen without waiting a minute. Other messages come back unchanged.
 */
export function withWalSenderTimeout(message: Buffer, timeout: string): Buffer {
  const at = message.indexOf(WAL_SENDER_TIMEOUT);
  if (at === -1) return message;
  const changed = Buffer.from(message);
  changed.write(timeout.padStart(3), at + WAL_SENDER_TIMEOUT.length - 4);
  return changed;
}
