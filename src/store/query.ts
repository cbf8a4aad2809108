// Facts by kind, end and time, newest first, for people who ask. Read through a connection of its own, which sees what is
// committed and nothing else. The ledger has no index by time, since each would cost every commit: all of it is looked at, a
// slice at a time.

import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { StartStatus } from "../change/start.ts";
import {
  type BuildTraits,
  type Fact,
  type FactKind,
  type Stage,
  type Status,
  isFirstBuild,
} from "../derive/fact.ts";
import { type Lsn, toLsn } from "../lsn.ts";
import {
  FACT_KINDS,
  type FactRecord,
  decodeEnding,
  decodeFact,
  decodeJob,
  decodeTraits,
  idToBytes,
} from "./codec.ts";
import { guardReading, openReadOnly } from "./readonly.ts";
import { DIFFERS, FACT_COLUMNS, FACT_TABLES } from "./statements.ts";

/** What a build is to those who count: a person's first one, the first of the pool's, a claim of one of these, or another. */
export type BuildSort = "first" | "prebuild" | "claim" | "other";

/** A place in the order of the answers. */
export interface FactKey {
  readonly at: Micros;
  readonly kind: FactKind;
  readonly id: Uuid;
}

/** All that is given must hold; null: anything. A fact without such a property does not match. */
export interface FactQuery {
  readonly kinds: readonly FactKind[];
  readonly statuses: readonly (Status | StartStatus)[] | null;
  readonly stages: readonly Stage[] | null;
  readonly errorCodes: readonly string[] | null;
  readonly builds: readonly BuildSort[] | null;
  /** By the fact's own time: from `since` on, and before `until`. */
  readonly since: Micros | null;
  readonly until: Micros | null;
  /** Only what comes after this one in the answers. */
  readonly before: FactKey | null;
  readonly limit: number;
}

export interface FoundFact {
  readonly fact: Fact;
  /** Null where the fact is of no build. */
  readonly build: BuildSort | null;
  /** Its row no longer says what was counted. */
  readonly divergent: boolean;
}

export interface FactPage {
  /** Everything up to here is in the ledger that was read; null while it is empty. */
  readonly upTo: Lsn | null;
  /** Newest first. */
  readonly facts: readonly FoundFact[];
  /** There are older ones that match. */
  readonly more: boolean;
}

/** Rows looked at in one slice: a millisecond or two. */
const LOOKED_AT_ONCE = 4_000;
/** Facts read whole in one slice: each is a few look-ups. */
const READ_AT_ONCE = 100;

/**
 * Searches the ledger of the store at `path`, all of it as it is at the first step. A step takes a few milliseconds and others
 * may run between two; memory is that of `limit` facts. Throws `NeedsOperator` where the file can not be read.
 */
export function* searchFacts(path: string, query: FactQuery): Generator<void, FactPage> {
  using file = openReadOnly(path);
  const { db } = file;
  const reading = <T>(action: () => T): T => guardReading(path, action);
  // One transaction: a commit is in the answer with all that it wrote, or not at all. It ends with the connection.
  const upTo = reading(() => {
    db.exec("begin");
    return positionOf(db);
  });
  const search = reading(() => new Search(db, query));
  for (const kind of search.kinds) {
    let after: Uint8Array = BEFORE_ALL;
    while (after !== AFTER_ALL) {
      yield;
      after = reading(() => search.look(kind, after));
    }
  }
  const found = search.newest.slice(0, query.limit);
  const facts: FoundFact[] = [];
  const read = reading(() => db.prepare(READ));
  for (let first = 0; first < found.length; first += READ_AT_ONCE) {
    yield;
    for (const { kind, id } of found.slice(first, first + READ_AT_ONCE))
      facts.push(reading(() => foundOf(read.get(kind, id))));
  }
  return { upTo, facts, more: search.newest.length > found.length };
}

/** A key as it is stored. */
interface Key {
  readonly at: Micros;
  readonly kind: number;
  readonly id: Uint8Array;
}

const BEFORE_ALL = Buffer.alloc(0);
/** Longer than any id. */
const AFTER_ALL = Buffer.alloc(17, 0xff);
const LOWEST: Key = { at: -Number.MAX_SAFE_INTEGER, kind: 0, id: BEFORE_ALL };
const HIGHEST: Key = { at: Number.MAX_SAFE_INTEGER, kind: Number.MAX_SAFE_INTEGER, id: AFTER_ALL };

/** The newest keys that match, of the rows looked at so far. */
class Search {
  /** Those of which a fact may match. */
  readonly kinds: readonly number[];
  /** Newest first, and one more than is asked for: then there are more. */
  newest: readonly Key[] = [];
  readonly #keep: number;
  /** What is asked for, by the parameters of `#look`. */
  readonly #range: Readonly<Record<string, SQLInputValue>>;
  readonly #last: StatementSync;
  readonly #look: StatementSync;

  constructor(db: DatabaseSync, query: FactQuery) {
    const { statuses, stages, errorCodes, builds, before } = query;
    const ofJobs = stages !== null || errorCodes !== null;
    const ofEnds = statuses !== null || ofJobs;
    this.kinds = query.kinds
      .filter((kind) => !ofEnds || ["ended", "ran", "ready"].includes(kind))
      .filter((kind) => !ofJobs || kind !== "ready")
      .filter(
        (kind) => builds === null || !["connected", "offered", "ran", "overdue"].includes(kind),
      )
      .map((kind) => FACT_KINDS[kind]);
    this.#keep = query.limit + 1;
    const to =
      before === null
        ? HIGHEST
        : { at: before.at, kind: FACT_KINDS[before.kind], id: idToBytes(before.id) };
    this.#range = {
      since: query.since ?? LOWEST.at,
      // Times are whole microseconds.
      last: query.until === null ? HIGHEST.at : query.until - 1,
      toAt: to.at,
      toKind: to.kind,
      toId: to.id,
    };
    const matching = [
      ...(ofEnds ? [endsLike(db, query)] : []),
      ...(builds === null ? [] : [buildsLike(db, builds)]),
    ];
    this.#last = db.prepare(
      `select id from fact where kind = ? and id > ? order by id limit 1 offset ${LOOKED_AT_ONCE - 1}`,
    );
    this.#look = db.prepare(
      `select at, id from fact where kind = :kind and id > :after and id <= :upto
         and at >= :since and at <= :last and (at, kind, id) > (:fromAt, :fromKind, :fromId)
         and (at, kind, id) < (:toAt, :toKind, :toId) ${matching.map((one) => `and ${one}`).join(" ")}
       order by at desc, id desc limit :keep`,
    );
  }

  /** Looks at the next rows of a kind, after this id; returns the last id of them. */
  look(kind: number, after: Uint8Array): Uint8Array {
    const upto = (this.#last.get(kind, after)?.["id"] as Uint8Array | undefined) ?? AFTER_ALL;
    // What is older than all that is kept need not leave SQLite.
    const oldest = this.newest.length < this.#keep ? LOWEST : (this.newest.at(-1) ?? LOWEST);
    const rows = this.#look.all({
      kind,
      after,
      upto,
      ...this.#range,
      fromAt: oldest.at,
      fromKind: oldest.kind,
      fromId: oldest.id,
      keep: this.#keep,
    });
    if (rows.length > 0) {
      const found = rows.map(({ at, id }) => ({ at: Number(at), kind, id: id as Uint8Array }));
      this.newest = [...this.newest, ...found].sort(newestFirst).slice(0, this.#keep);
    }
    return upto;
  }
}

function newestFirst(a: Key, b: Key): number {
  return b.at - a.at || b.kind - a.kind || Buffer.compare(b.id, a.id);
}

/** Ends are interned, some dozens of texts: which of them match is decided once. */
function endsLike(db: DatabaseSync, { statuses, stages, errorCodes }: FactQuery): string {
  const ids = interned(db, "ending", (text) => {
    const { status, stage, errorCode } = decodeEnding(text);
    return (
      (statuses?.includes(status) ?? true) &&
      (stages?.some((asked) => asked === stage) ?? true) &&
      (errorCodes?.includes(errorCode) ?? true)
    );
  });
  return `ending in (${ids.join(", ")})`;
}

function buildsLike(db: DatabaseSync, builds: readonly BuildSort[]): string {
  const ids = interned(
    db,
    "traits",
    (text) => decodeJob(text) === null && builds.includes(sortOf(decodeTraits(text))),
  );
  const listed = `traits in (${ids.join(", ")})`;
  // Of before traits were recorded, which is what decoding makes of none.
  return builds.includes(sortOf(decodeTraits(null))) ? `(${listed} or traits is null)` : listed;
}

/** The ids of the texts that match. */
function interned(
  db: DatabaseSync,
  table: "ending" | "traits",
  matches: (text: string) => boolean,
): number[] {
  return db
    .prepare(`select id, value from ${table}`)
    .all()
    .filter(({ value }) => matches(String(value)))
    .map(({ id }) => Number(id));
}

function sortOf(traits: BuildTraits): BuildSort {
  if (isFirstBuild(traits)) return "first";
  if (traits.initial && traits.prebuild) return "prebuild";
  return traits.claimed === null ? "other" : "claim";
}

const READ = `
  select ${FACT_COLUMNS}, divergent.id is not null as divergent
  from ${FACT_TABLES} left join divergent on divergent.kind = fact.kind and divergent.id = fact.id and ${DIFFERS}
  where fact.kind = ? and fact.id = ?`;

function foundOf(row: Record<string, SQLOutputValue> | undefined): FoundFact {
  const record = row as unknown as FactRecord & { readonly divergent: number };
  const fact = decodeFact(record);
  return {
    fact,
    build: "traits" in fact ? sortOf(fact.traits) : null,
    divergent: record.divergent === 1,
  };
}

function positionOf(db: DatabaseSync): Lsn | null {
  const statement = db.prepare("select end_lsn from position");
  statement.setReadBigInts(true);
  const end = statement.get()?.["end_lsn"];
  return typeof end === "bigint" ? toLsn(end) : null;
}
