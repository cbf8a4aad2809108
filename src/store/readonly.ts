// The store's file for readers: beside the process that writes it, or when nobody has it open. Nothing is created or changed.

import { existsSync, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { DatabaseSync } from "node:sqlite";
import { NeedsOperator } from "../errors.ts";
import { guard, schemaVersion, versionOf } from "./file.ts";

/** How long SQLite waits for a writer that keeps everybody out for a moment, as at its start and end. */
const BUSY_MS = 1_000;
// https://sqlite.org/rescode.html
const BUSY = 5;
const CORRUPT = 11;
const NOTADB = 26;

/** An open file, and whether a process follows with it. */
export interface ReadOnlyFile extends Disposable {
  readonly db: DatabaseSync;
  /** A process holds the store right now. */
  held(): boolean;
  /**
   * Whether all that was read is of one moment, where it was read in one transaction: false when the file was at rest as it was
   * opened, and somebody has begun to write to it since.
   */
  steady(): boolean;
}

/**
 * Opens a store for reading. Throws `NeedsOperator` when there is none, or when it is damaged, of another version, not a store
 * or not readable.
 */
export function openReadOnly(path: string): ReadOnlyFile {
  if (!existsSync(path)) throw empty(`there is no store ${path}`);
  return guardReading(path, () => {
    // A file that is at rest, all of it in one place, is opened as one that nobody changes: any other way of reading leaves
    // files beside it.
    const atRest = !isHeld(path) && !existsSync(`${path}-wal`);
    const before = versionOnDisk(path);
    const db = openDatabase(path, atRest);
    return {
      db,
      held: () => guardReading(path, () => isHeld(path)),
      steady: () => !atRest || versionOnDisk(path) === before,
      [Symbol.dispose]: () => db.close(),
    };
  });
}

/** The store is not one yet. */
export function empty(problem: string): NeedsOperator {
  return new NeedsOperator(problem, {
    reason: "store_empty",
    hint: "this reads what `serve` has counted: give the same --state (FIRSTLIGHT_STATE), and wait until serve shows totals (firstlight_ready 1)",
  });
}

/** Another one after each change of the file itself; changes begin in a file beside it. */
function versionOnDisk(path: string): string {
  const file = statSync(path, { bigint: true, throwIfNoEntry: false });
  return file === undefined ? "gone" : `${file.ino} ${file.size} ${file.mtimeNs}`;
}

function openDatabase(path: string, atRest: boolean): DatabaseSync {
  const location = pathToFileURL(path);
  if (atRest) location.searchParams.set("immutable", "1");
  const db = new DatabaseSync(location, { readOnly: true, timeout: BUSY_MS });
  try {
    const version = versionOf(db, path);
    if (version === 0) throw empty(`the store ${path} is empty`);
    if (version < schemaVersion()) throw older(path, version);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function older(path: string, version: number): NeedsOperator {
  return new NeedsOperator(
    `the store ${path} was written by an older Firstlight (schema ${version}, this one writes ${schemaVersion()})`,
    {
      reason: "store_older",
      hint: "restart `serve` with this version, which brings the store up to date, or run that version here",
    },
  );
}

/** The lock is an exclusive transaction in a file of its own: whoever can read that file has found it free. */
function isHeld(path: string): boolean {
  if (!existsSync(`${path}.lock`)) return false;
  const lock = new DatabaseSync(`${path}.lock`, { readOnly: true, timeout: 0 });
  try {
    lock.prepare("select 1 from sqlite_schema").get();
    return false;
  } catch (error) {
    if (codeOf(error) !== BUSY) throw error;
    return true;
  } finally {
    lock.close();
  }
}

/** Names what is wrong with reading a store in terms of what to do. */
export function guardReading<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    const code = codeOf(cause);
    if (code === undefined) throw cause;
    if (code === CORRUPT || code === NOTADB)
      return guard(path, () => {
        throw cause;
      });
    throw new NeedsOperator(
      `the store ${path} can not be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        reason: "store_not_readable",
        hint: "run this as the user that runs `serve`, with room for temporary files: about as much as the store takes, in the folder that TMPDIR names (else /var/tmp or /tmp)",
        cause,
      },
    );
  }
}

/** The primary result code of an error of SQLite. */
function codeOf(error: unknown): number | undefined {
  const { errcode } = (error ?? {}) as { errcode?: number };
  return errcode === undefined ? undefined : errcode & 0xff;
}
