// The ledger beside what the tables say, compared by id. The ledger is read from its file, which somebody else may be writing;
// what the tables say goes to a temporary table: SQLite keeps it in an unnamed file that ends with the process, so memory
// is the same for any history and nothing is left behind.

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { must } from "../errors.ts";
import { type Lsn, toLsn } from "../lsn.ts";
import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { Ending, Fact, FactKind, SeenReady } from "../derive/fact.ts";
import {
  ENTITY_KINDS,
  FACT_KINDS,
  bytesToId,
  decodeEnding,
  endingOf,
  idToBytes,
  tookOf,
} from "./codec.ts";
import { empty, guardReading, openReadOnly } from "./readonly.ts";

/** What is compared. What can be built is not: versions come and go. */
export const COMPARED = [
  "attempted",
  "ended",
  "connected",
  "created",
  "deleted",
  "started",
  "ran",
  "ready",
  "overdue",
] as const satisfies readonly FactKind[];
export type Compared = (typeof COMPARED)[number];

/** What one side says of an id; names are frozen and not compared. */
export interface Said {
  readonly at: Micros;
  readonly took: Micros | null;
  readonly ending: Ending | null;
  /** Of the build that created or deleted a workspace. */
  readonly number: number | null;
}

/** An id of which the two sides do not say the same; null: nothing. */
export interface Difference {
  readonly kind: Compared;
  readonly id: Uuid;
  readonly ledger: Said | null;
  readonly tables: Said | null;
  /** The stream saw this row change after it was counted. */
  readonly explained: boolean;
}

/** What time it was at C, to those who tell of agents that are overdue. */
export interface OverdueTimes {
  /** The tables tell of those whose time was up by then. */
  readonly decided: Micros;
  /** The ledger of those whose time was up by then, by the server's clock. */
  readonly told: Micros;
}

/** Where the ledger stands, and of which Postgres system that is true. */
export interface Standing {
  readonly systemId: string;
  readonly end: Lsn;
}

/** So many ids are compared at a time, in a few milliseconds. */
const SLICE = 500;
/** Memory for the temporary table; the rest of it is on disk. */
const CACHE_KB = 32_000;

const SCHEMA = `
  pragma temp.cache_size = -${CACHE_KB};
  create temp table told (
    kind integer not null,
    id blob not null,
    at integer not null,
    took integer,
    ending text,
    number integer,
    primary key (kind, id)
  ) strict, without rowid;`;

const TELL =
  "insert into temp.told (kind, id, at, took, ending, number) values (?, ?, ?, ?, ?, ?) on conflict do nothing";
// The tables are read in no order, and of the builds that could have created or deleted a workspace the lowest did.
const LOWER = "update temp.told set at = ?, number = ? where kind = ? and id = ? and number > ?";

// What the ledger learned after C is of no concern at C. A position beyond the ledger's own end is of an older history.
const UP_TO_C = "not (fact.end_lsn > :consistent and fact.end_lsn <= :end)";

// How a start went is not told by agents that have shut down since.
const TELLS_ENDING = `not (told.kind = ${FACT_KINDS.ready} and told.ending is null)`;

const LEDGER_SAYS =
  "fact.at as counted_at, fact.took as counted_took, ending.value as counted_ending, case when fact.kind in (5, 6) then fact.number end as counted_number";
// A workspace may have been deleted more than once: which of these deletes is counted depends on which was seen first.
const OTHER_DELETE = "(fact.kind = 6 and told.number <> fact.number)";
/** An agent whose first connection is another one now may have been in time by one of the two. */
const explained = (side: "told" | "fact"): string =>
  `exists (select 1 from main.divergent where divergent.id = ${side}.id
     and divergent.kind in (${side}.kind, case ${side}.kind when ${FACT_KINDS.overdue} then ${FACT_KINDS.connected} end)) as explained`;

/** Agents whose time was not up when the tables were read, or not by much: by the clocks of others it may not have been. */
const LATER_OVERDUE = `fact.kind = ${FACT_KINDS.overdue} and fact.at > :decided`;
/** Agents that the ledger saw waiting at C: it waits to tell of them, or has learned since that they connected. */
const NOT_YET_OVERDUE = `told.kind = ${FACT_KINDS.overdue} and (
  exists (select 1 from main.entity
    where entity.kind = ${ENTITY_KINDS.agent} and entity.id = told.id and entity.due > :told)
  or exists (select 1 from main.fact as connected
    where connected.kind = ${FACT_KINDS.connected} and connected.id = told.id
      and connected.end_lsn > :consistent and connected.end_lsn <= :end))`;

const UNLIKE_TABLES = `
  select told.id, told.at, told.took, told.ending, told.number, ${LEDGER_SAYS}, ${explained("told")}
  from temp.told
  left join main.fact on fact.kind = told.kind and fact.id = told.id
  left join main.ending on ending.id = fact.ending
  where told.kind = :kind and told.id > :after and told.id <= :upto
    and ((fact.id is null and not (${NOT_YET_OVERDUE}))
      or (${UP_TO_C} and not ${OTHER_DELETE} and ((told.at, told.took) is not (fact.at, fact.took)
        or (told.ending is not ending.value and ${TELLS_ENDING})
        or told.number <> fact.number)))`;

const NOT_IN_TABLES = `
  select fact.id, null as at, ${LEDGER_SAYS}, ${explained("fact")}
  from main.fact
  left join main.ending on ending.id = fact.ending
  where fact.kind = :kind and fact.id > :after and fact.id <= :upto and ${UP_TO_C} and not (${LATER_OVERDUE})
    and not exists (select from_tables.id from temp.told as from_tables where from_tables.kind = fact.kind and from_tables.id = fact.id)`;

/** Each side's ids in slices, and what to look for in them. */
const PASSES = [
  ["temp.told", UNLIKE_TABLES],
  ["main.fact", NOT_IN_TABLES],
] as const;

const BEFORE_ALL = Buffer.alloc(0);
/** Longer than any id. */
const AFTER_ALL = Buffer.alloc(17, 0xff);

type Row = Readonly<Record<string, unknown>>;

/** Opened on a store's file; throws `NeedsOperator` where that can not be read, also later. */
export class Comparison implements Disposable {
  readonly #path: string;
  readonly #file: ReturnType<typeof openReadOnly>;
  readonly #db: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #lower: StatementSync;
  readonly #told = Object.fromEntries(COMPARED.map((kind) => [kind, 0])) as Record<
    Compared,
    number
  >;

  constructor(path: string) {
    this.#path = path;
    this.#file = openReadOnly(path);
    this.#db = this.#file.db;
    try {
      guardReading(path, () => this.#db.exec(SCHEMA));
      this.#insert = this.#db.prepare(TELL);
      this.#lower = this.#db.prepare(LOWER);
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** A process has the store open for following. */
  get followed(): boolean {
    return this.#file.held();
  }

  /** How many facts the tables have told, by kind. */
  get told(): Readonly<Record<Compared, number>> {
    return this.#told;
  }

  /** Where the ledger stands now. */
  standing(): Standing {
    return guardReading(this.#path, () => {
      const statement = this.#db.prepare("select system_id, end_lsn from main.position");
      statement.setReadBigInts(true);
      const row = statement.get();
      if (!row) throw empty(`the store ${this.#path} is empty: no baseline has been completed`);
      return { systemId: String(row["system_id"]), end: toLsn(row["end_lsn"] as bigint) };
    });
  }

  /** Takes facts that the tables tell. */
  tell(facts: readonly (Fact | SeenReady)[]): void {
    guardReading(this.#path, () => {
      this.#db.exec("begin");
      for (const fact of facts) {
        if (fact.kind === "offered") continue;
        const ending = endingOf(fact);
        const key = [FACT_KINDS[fact.kind], idToBytes(fact.id)] as const;
        const number = fact.kind === "created" || fact.kind === "deleted" ? fact.number : null;
        if (this.#insert.run(...key, fact.at, tookOf(fact), ending, number).changes === 1)
          this.#told[fact.kind] += 1;
        else if (number !== null) this.#lower.run(fact.at, number, ...key, number);
      }
      this.#db.exec("commit");
    });
  }

  /**
   * Everything in which the ledger, as it is now, differs from the tables at `consistent`, a slice at a time; slices may be
   * empty. The ledger must stand there or further.
   */
  *differences(consistent: Lsn, times: OverdueTimes): Generator<readonly Difference[]> {
    // One transaction: what is counted and what is known to have changed are read at one position.
    this.#db.exec("begin");
    try {
      const { end } = this.standing();
      for (const [ids, query] of PASSES) {
        for (const kind of COMPARED) {
          yield* this.#slices(ids, { query, kind, where: { consistent, end, ...times } });
        }
      }
    } finally {
      if (this.#db.isTransaction) this.#db.exec("rollback");
    }
  }

  *#slices(ids: string, pass: Pass): Generator<readonly Difference[]> {
    const compare = this.#db.prepare(pass.query);
    // Each of the two asks for one of the times.
    compare.setAllowUnknownNamedParameters(true);
    const last = this.#db.prepare(
      `select id from ${ids} where kind = ? and id > ? order by id limit 1 offset ${SLICE - 1}`,
    );
    const kind = FACT_KINDS[pass.kind];
    let after: Uint8Array = BEFORE_ALL;
    while (after !== AFTER_ALL) {
      const upto = (last.get(kind, after)?.["id"] as Uint8Array | undefined) ?? AFTER_ALL;
      const range = { ...pass.where, kind, after, upto };
      yield guardReading(this.#path, () => compare.all(range)).map((row) =>
        differenceOf(pass.kind, row),
      );
      after = upto;
    }
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

interface Pass {
  readonly query: string;
  readonly kind: Compared;
  readonly where: Readonly<Record<"consistent" | "end" | keyof OverdueTimes, SQLInputValue>>;
}

function differenceOf(kind: Compared, row: Row): Difference {
  return {
    kind,
    id: bytesToId(row["id"]),
    ledger: saidOf(row, "counted_"),
    tables: saidOf(row, ""),
    explained: row["explained"] === 1,
  };
}

function saidOf(row: Row, prefix: "" | "counted_"): Said | null {
  const [at, took, ending, number] = ["at", "took", "ending", "number"].map(
    (column) => row[prefix + column] ?? null,
  );
  if (at === null) return null;
  return {
    at: Number(must(at, "no time")),
    took: typeof took === "number" ? took : null,
    ending: typeof ending === "string" ? decodeEnding(ending) : null,
    number: typeof number === "number" ? number : null,
  };
}
