// Facts of a first baseline, sorted before they are inserted. Ids are random, so each would go to another page of the ledger: with
// 350,000 of them most of the time went into that, and with ten times as many, which no cache holds, ten times as much for each.
// They go to the end of one of some hundred heaps first, by the first byte of their id, in a file of their own beside the store.

import { rmSync } from "node:fs";
import type { DatabaseSync, SQLInputValue } from "node:sqlite";

/** Of the table `fact`, in its order. */
const COLUMNS =
  "kind, id, at, end_lsn, names, took, ending, traits, workspace, number, queued, provisioned, completed";
const SUFFIX = "-presort";

/** A row of the ledger, ready to be stored: kind and id first. */
export type FactRow = readonly [kind: number, id: Uint8Array, ...rest: readonly SQLInputValue[]];

/** What waits to be sorted. Opened outside of a transaction and disposed outside of one; its file goes with it. */
export interface Presort extends Disposable {
  /** Takes a row that the ledger does not have and that does not come again. */
  add(row: FactRow): void;
  /** Inserts all that was taken, in the order of the ledger, some milliseconds at a time. */
  spread(): Generator<void>;
}

/** Removes what a process that was killed has left. */
export function removePresort(path: string): void {
  rmSync(`${path}${SUFFIX}`, { force: true });
}

/** Opens it for the store at `path`. Throws what SQLite throws. */
export function openPresort(db: DatabaseSync, path: string): Presort {
  const file = `${path}${SUFFIX}`;
  removePresort(path);
  db.prepare("attach ? as presort").run(file);
  // It is never read by anybody else, and worth nothing after a crash.
  db.exec(`pragma presort.journal_mode = off; pragma presort.synchronous = off; pragma presort.cache_size = -32768;
    create table presort.fact (heap integer not null, place integer not null, ${COLUMNS}, primary key (heap, place)) without rowid`);
  const places = COLUMNS.replaceAll(/\w+/g, "?");
  const insert = db.prepare(
    `insert into presort.fact (heap, place, ${COLUMNS}) values (?, ?, ${places})`,
  );
  const move = db.prepare(
    `insert into main.fact (${COLUMNS}) select ${COLUMNS} from presort.fact where heap = ? order by id`,
  );
  const forget = db.prepare("delete from presort.fact where heap = ?");
  const heaps = new Map<number, number>();
  return {
    add(row) {
      const [kind, id] = row;
      const heap = kind * 256 + (id[0] ?? 0);
      const number = (heaps.get(heap) ?? 0) + 1;
      heaps.set(heap, number);
      insert.run(heap, number, ...row);
    },
    *spread() {
      for (const heap of [...heaps.keys()].sort((a, b) => a - b)) {
        move.run(heap);
        forget.run(heap);
        heaps.delete(heap);
        yield;
      }
    },
    [Symbol.dispose]() {
      db.exec("detach presort");
      removePresort(path);
    },
  };
}
