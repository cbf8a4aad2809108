// The ledger's facts for history: all of them, and those of a stretch of time in the order of their own times. Read from the
// file, beside whoever writes it, in one transaction.
//
// The ledger has no index by time. SQLite sorts the rows as they are stored, with interned texts as small integers, in an unnamed
// file that ends with the process where they do not fit in memory.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Micros } from "../change/micros.ts";
import type { Fact } from "../derive/fact.ts";
import { NeedsOperator } from "../errors.ts";
import { type Lsn, toLsn } from "../lsn.ts";
import { FACT_KINDS, type FactRecord, decodeFact } from "./codec.ts";
import { damaged } from "./file.ts";
import { empty, guardReading, openReadOnly } from "./readonly.ts";

/** Interned texts held in memory, of each kind. */
const TEXTS = 5_000;
/** Memory for the sort, in kilobytes. */
const CACHE_KB = 8_000;

const COLUMNS =
  "kind, id, at, end_lsn, names, took, ending, traits, workspace, number, queued, provisioned, completed";
/** What can be built, which is nothing that happened. */
const OFFERED = FACT_KINDS.offered;

/** Facts of a ledger as it is when it is opened. */
export interface FactHistory extends Disposable {
  readonly systemId: string;
  /** Everything up to here is in it. */
  readonly end: Lsn;
  /** The time of the oldest fact; null: there is none. */
  readonly oldest: Micros | null;
  /** How many there are. */
  readonly count: number;
  /** All of them, in no particular order. */
  facts(): Generator<Fact>;
  /** Those after the first time and up to the second one, in the order of their times. */
  between(after: Micros, upTo: Micros): Generator<Fact>;
  /** Throws `NeedsOperator` when what was read may be of two moments: to be asked once all is read. */
  requireSteady(): void;
}

/** Opens the store at `path`. Throws `NeedsOperator` where it can not be read, also later, or lacks what older versions did not record. */
export function openHistory(path: string): FactHistory {
  const file = openReadOnly(path);
  try {
    return guardReading(path, () => historyOf(path, file));
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

function historyOf(path: string, file: ReturnType<typeof openReadOnly>): FactHistory {
  const { db } = file;
  db.exec(`pragma cache_size = -${CACHE_KB}; begin`);
  const { systemId, end } = positionOf(db, path);
  const known = db
    .prepare(`select min(at) as oldest, count(*) as n from fact where kind <> ${OFFERED}`)
    .get();
  const oldest = known?.["oldest"];
  const decode = decoder(db);
  const read = (where: string, ...values: Micros[]): Generator<Fact> => {
    const statement = guardReading(path, () =>
      arrays(db.prepare(`select ${COLUMNS} from fact where kind <> ${OFFERED} ${where}`)),
    );
    return each(path, statement.iterate(...values) as Iterator<unknown>, decode);
  };
  return {
    systemId,
    end,
    oldest: typeof oldest === "number" ? oldest : null,
    count: Number(known?.["n"]),
    facts: () => read(""),
    between: (after, upTo) => read("and at > ? and at <= ? order by at, kind, id", after, upTo),
    requireSteady() {
      if (!file.steady()) throw moved(path);
    },
    [Symbol.dispose]: () => file[Symbol.dispose](),
  };
}

function moved(path: string): NeedsOperator {
  return new NeedsOperator(`somebody began to write to the store ${path} while it was read`, {
    reason: "store_moved",
    hint: "run this again; beside a `serve` that runs already, or while none does, it is not disturbed",
  });
}

function positionOf(db: DatabaseSync, path: string): { systemId: string; end: Lsn } {
  const statement = db.prepare("select system_id, end_lsn from position");
  statement.setReadBigInts(true);
  const row = statement.get();
  if (!row) throw empty(`the store ${path} is empty: no baseline has been completed`);
  if (db.prepare("select 1 from meta where key = 'lacks'").get())
    throw new NeedsOperator(`the store ${path} lacks what an older Firstlight did not record`, {
      reason: "store_incomplete",
      hint: "start `serve` with this version: its first baseline completes the ledger from the tables",
    });
  return { systemId: String(row["system_id"]), end: toLsn(row["end_lsn"] as bigint) };
}

type Row = readonly [
  kind: number,
  id: Uint8Array,
  at: number,
  end: number,
  names: number,
  took: number | null,
  ending: number | null,
  traits: number | null,
  workspace: number | null,
  number: number | null,
  queued: number | null,
  provisioned: number | null,
  completed: number | null,
];

/** Rows with interned texts as numbers. Their texts are looked up, and kept while there are not too many. */
function decoder(db: DatabaseSync): (row: unknown) => Fact {
  const names = texts(db, "names");
  const endings = texts(db, "ending");
  const traits = texts(db, "traits");
  const workspaces = texts(db, "workspace");
  return (row) => {
    const [kind, id, at, end_lsn, name, took, ending, trait, workspace, number, ...light] =
      row as Row;
    const [queued, provisioned, completed] = light;
    const record: FactRecord = {
      kind,
      id,
      at,
      end_lsn,
      names: names(name),
      took,
      ending: ending === null ? null : endings(ending),
      traits: trait === null ? null : traits(trait),
      workspace: workspace === null ? null : workspaces(workspace),
      number,
      queued,
      provisioned,
      completed,
    };
    return decodeFact(record);
  };
}

function texts(
  db: DatabaseSync,
  table: "names" | "ending" | "traits" | "workspace",
): (id: number) => string {
  const find = arrays(db.prepare(`select value from ${table} where id = ?`));
  const kept = new Map<number, string>();
  return (id) => {
    let text = kept.get(id);
    if (text !== undefined) return text;
    const [value] = (find.get(id) ?? []) as unknown as readonly unknown[];
    if (typeof value !== "string") throw new Error(`${table} ${id} is not there`);
    text = value;
    if (kept.size >= TEXTS) kept.clear();
    kept.set(id, text);
    return text;
  };
}

// Objects for rows would be made straight in the old generation (see statements.ts).
function arrays(statement: StatementSync): StatementSync {
  statement.setReturnArrays(true);
  return statement;
}

/** Reads rows one by one; what can not be read is named as damage. */
function* each<T>(
  path: string,
  rows: Iterator<unknown>,
  decode: (row: unknown) => T,
): Generator<T> {
  try {
    for (;;) {
      const next = guardReading(path, () => {
        const { done, value } = rows.next();
        return done === true ? null : { value: decoded(path, () => decode(value)) };
      });
      if (next === null) return;
      yield next.value;
    }
  } finally {
    rows.return?.();
  }
}

function decoded<T>(path: string, decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    if ((cause as { errcode?: number }).errcode !== undefined) throw cause;
    throw damaged(path, cause instanceof Error ? cause : new Error(String(cause)));
  }
}
