// Opening the store's file: one process at a time, the right version, whole, and on a file system that keeps its word.

import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { NeedsOperator, Transient, must } from "../errors.ts";

const MIGRATIONS = new URL("../../sql/store/", import.meta.url);

/** Magic numbers of network file systems (statfs(2)): file locks and fsync there are not what SQLite needs. */
const NETWORK_FILE_SYSTEMS = new Map([
  [0x6969, "NFS"],
  [0xff534d42, "CIFS"],
  [0x517b, "SMB"],
  [0xfe534d42, "SMB2"],
  [0x01021997, "9P"],
]);

/** An open store file and the lock that keeps a second process out. */
export interface StoreFile extends Disposable {
  readonly db: DatabaseSync;
  /** Throws `NeedsOperator` when the file was removed or replaced: SQLite would go on writing what nobody finds again. */
  requireThere(): void;
}

/**
 * Opens or creates the store at `path`. Throws `NeedsOperator` when another process holds it, when it is damaged,
 * newer than this version, not writable, or on a network file system.
 */
export function openFile(path: string): StoreFile {
  const lock = guard(path, () => {
    makeFolder(dirname(path));
    refuseNetworkFileSystem(dirname(path));
    return takeLock(path);
  });
  try {
    const db = guard(path, () => openDatabase(path));
    const { ino } = statSync(path);
    return {
      db,
      requireThere() {
        if (statSync(path, { throwIfNoEntry: false })?.ino !== ino) throw gone(path);
      },
      [Symbol.dispose]() {
        db.close();
        lock.close();
      },
    };
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** One by one from the top: with `recursive`, Node retries for ever where the kernel answers ENOENT, as below /proc. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  if (path !== dirname(path)) makeFolder(dirname(path));
  mkdirSync(path);
}

function openDatabase(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    // Looked at before anything is written: a file that is refused stays as it is.
    const version = versionOf(db, path);
    db.exec("pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = off");
    // Whoever follows needs no folder for temporary files. So what one statement sorts, and the pages that it changes, are in memory: none
    // may go over the whole ledger.
    db.exec("pragma temp_store = memory");
    migrate(db, version);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Names what is wrong with a store file in terms of what to do. Other errors pass through. */
export function guard<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw explain(path, cause);
  }
}

// Primary result codes of SQLite, https://sqlite.org/rescode.html
/** Among others: a table or column is not there. */
const SQL_ERROR = 1;
const READONLY = 8;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

/** What making the folder fails with. EEXIST: a part of its path is a file. */
const NO_FOLDER = new Set(["EACCES", "EEXIST", "ENOENT", "ENOSPC", "ENOTDIR", "EPERM", "EROFS"]);

const isDamage = (errcode: number): boolean => [CORRUPT, NOTADB].includes(errcode & 0xff);

function explain(path: string, cause: unknown): unknown {
  if (!(cause instanceof Error)) return cause;
  const { code, errcode } = cause as Error & { code?: string; errcode?: number };
  const primary = errcode === undefined ? undefined : errcode & 0xff;
  if (errcode !== undefined && isDamage(errcode)) return damaged(path, cause);
  if (
    primary === READONLY ||
    primary === CANTOPEN ||
    primary === FULL ||
    NO_FOLDER.has(code ?? "")
  ) {
    return new NeedsOperator(`the store ${path} can not be written: ${cause.message}`, {
      reason: "store_not_writable",
      hint: "give this user write access to the file and its folder, and the disk some space, or set --state (FIRSTLIGHT_STATE) to a writable path",
      cause,
    });
  }
  return cause;
}

const RESTORE =
  "restore a copy of it, or move it away: an empty store begins again from the tables (rows deleted by hand and names before renames are then lost)";

/** The store can not be one of ours as it is. */
export function damaged(path: string, cause: Error): NeedsOperator {
  return new NeedsOperator(`the store ${path} is damaged: ${cause.message}`, {
    reason: "store_damaged",
    hint: RESTORE,
    cause,
  });
}

function gone(path: string): NeedsOperator {
  return new NeedsOperator(`the store ${path} was removed or replaced while it was in use`, {
    reason: "store_damaged",
    hint: `nothing was acknowledged since. Start again once it is back; ${RESTORE}`,
  });
}

/** A second SQLite file held in an exclusive transaction: the kernel releases it however this process ends. */
function takeLock(path: string): DatabaseSync {
  const lock = new DatabaseSync(`${path}.lock`, { timeout: 0 });
  try {
    lock.exec("pragma journal_mode = delete; begin exclusive");
    return lock;
  } catch (cause) {
    lock.close();
    if ((cause as { errcode?: number }).errcode !== 5) throw cause;
    throw new NeedsOperator(`another process uses the store ${path}`, {
      reason: "store_in_use",
      hint: "one store is one process: stop the other one, or give this one its own --state and --slot",
      cause,
    });
  }
}

/** The kind of network file system that a folder is on; undefined: none. */
export const networkFileSystem = (type: number): string | undefined =>
  NETWORK_FILE_SYSTEMS.get(type);

function refuseNetworkFileSystem(folder: string): void {
  const kind = networkFileSystem(Number(statfsSync(folder).type));
  if (kind === undefined) return;
  throw new NeedsOperator(`the store's folder ${folder} is on a network file system (${kind})`, {
    reason: "store_on_network",
    hint: "put --state (FIRSTLIGHT_STATE) on a local disk or a block volume",
  });
}

const migrations = (): string[] =>
  readdirSync(MIGRATIONS)
    .filter((name) => name.endsWith(".sql"))
    .sort();

/** The schema's version that this Firstlight writes. */
export const schemaVersion = (): number => migrations().length;

/** The schema's version; 0 for an empty file. Throws `NeedsOperator` for a newer one, and for what is no store. */
export function versionOf(db: DatabaseSync, path: string): number {
  const version = Number(db.prepare("pragma user_version").get()?.["user_version"]);
  const known = schemaVersion();
  if (version > known) {
    throw new NeedsOperator(
      `the store ${path} was written by a newer Firstlight (schema ${version}, this one knows ${known})`,
      {
        reason: "store_newer",
        hint: "run that version again, or restore the copy made before the upgrade",
      },
    );
  }
  if (version === 0 && db.prepare("select 1 from sqlite_schema limit 1").get()) {
    throw new NeedsOperator(`${path} is a database, but no store of Firstlight`, {
      reason: "store_foreign",
      hint: "set --state (FIRSTLIGHT_STATE) to a file of its own",
    });
  }
  return version;
}

/** Each migration is one transaction with the version that it leads to: a store is never left between two. */
function migrate(db: DatabaseSync, version: number): void {
  for (const [index, name] of migrations().entries()) {
    if (index < version) continue;
    const sql = readFileSync(new URL(name, MIGRATIONS), "utf8");
    db.exec(`begin immediate; ${sql}; pragma user_version = ${index + 1}; commit`);
  }
}

/**
 * For a store that is open: what SQLite refuses (locked, full, read-only, I/O error) may pass, so the stream is broken and
 * it is tried again. Damage does not pass.
 */
export function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    const { errcode, errstr } = must(
      cause as { errcode?: number; errstr?: string },
      "thrown nothing",
    );
    if (errcode === undefined) throw cause;
    if (isDamage(errcode)) throw explain(path, cause);
    throw new Transient(`the store refused a write: ${errstr ?? errcode}`, {
      reason: "store",
      cause,
    });
  }
}

/** As `attempt`, for reading what this store wrote: whatever can not be read is damaged, also where SQLite sees nothing wrong. */
export function reading<T>(path: string, action: () => T): T {
  return attempt(path, () => {
    try {
      return action();
    } catch (cause) {
      const { errcode } = cause as { errcode?: number };
      if (errcode !== undefined && errcode !== SQL_ERROR) throw cause;
      throw damaged(path, cause instanceof Error ? cause : new Error(String(cause)));
    }
  });
}
