// Facts of a ledger that the tables fill, on their way to their places. The tables have them in the order of time, the ledger has them in that of
// their random ids: put there one by one, each lands on another page, and most pages are read and written many times. So they are set aside
// as they come, apart by how their ids begin, and each part goes to its place at once, sorted.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { FactKind } from "../derive/fact.ts";

/** Of what is stored of a fact. */
export const ROW_COLUMNS = [
  "kind",
  "id",
  "at",
  "end_lsn",
  "names",
  "took",
  "ending",
  "traits",
  "workspace",
  "number",
  "queued",
  "provisioned",
  "completed",
] as const;

/** In the order of `ROW_COLUMNS`. */
export type FactRow = readonly [
  kind: number,
  id: Uint8Array,
  ...rest: readonly (number | bigint | null)[],
];

/** Kinds that there are many of, and that a filling asks for only when they are in their places. Workspaces are few: whether one is created it asks all along. */
const KINDS: ReadonlySet<FactKind> = new Set([
  "attempted",
  "started",
  "ended",
  "connected",
  "ready",
]);

const COLUMNS = ROW_COLUMNS.join();

/** Of each kind. With a million builds, one goes to its place in a tenth of a second. */
const PARTS = 16;

interface Part {
  readonly table: string;
  readonly insert: StatementSync;
  count: number;
}

export class Aside {
  readonly #db: DatabaseSync;
  /** By kind, and in it by the beginning of the ids. */
  readonly #parts = new Map<number, Part>();

  /** Within a transaction, which takes its tables along if it is rolled back. */
  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** Whether facts of this kind are set aside. */
  takes(kind: FactKind): boolean {
    return KINDS.has(kind);
  }

  add(row: FactRow): void {
    const [kind, id] = row;
    const key = kind * PARTS + Math.floor(((id[0] ?? 0) * PARTS) / 256);
    let part = this.#parts.get(key);
    if (!part) this.#parts.set(key, (part = this.#make(`aside_${key}`)));
    part.insert.run(...row);
    part.count += 1;
  }

  /** Puts everything in its place, a part at a time, in the order of the ledger; tells of each how many of its facts were there already. */
  *place(): Generator<number> {
    for (const [key, { table, count }] of [...this.#parts].toSorted(([a], [b]) => a - b)) {
      this.#parts.delete(key);
      // `where true`: else the conflict's `on` would be that of a join.
      const move = `insert into fact (${COLUMNS}) select ${COLUMNS} from ${table} where true order by id
        on conflict (kind, id) do nothing`;
      const { changes } = this.#db.prepare(move).run();
      this.#db.exec(`drop table ${table}`);
      yield count - Number(changes);
    }
  }

  #make(table: string): Part {
    this.#db.exec(`create table ${table} as select ${COLUMNS} from fact where false`);
    return {
      table,
      insert: this.#db.prepare(
        `insert into ${table} values (${ROW_COLUMNS.map(() => "?").join()})`,
      ),
      count: 0,
    };
  }
}
