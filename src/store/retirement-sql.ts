// The SQL of retirement, prepared once: who had a name, what is deleted, and the series that are not shown.

import type { DatabaseSync } from "node:sqlite";
import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { HiddenKey, HiddenSeries } from "../metrics/hiding.ts";
import type { Workspace } from "../derive/fact.ts";
import { bytesToId, decodeAgentNames, idToBytes } from "./codec.ts";

/** [owner, name] of an interned workspace: as the index in sql/store/000005.sql has it. */
const NAME = "'[' || substr(value, 41)";
const ID = "unhex(replace(substr(value, 3, 36), '-', ''))";
/** A deletion that was taken back: a failover lost it. */
const TAKEN_BACK = `exists (select 1 from divergent where kind = 6 and divergent.id = deleted.id
  and (reason = 'vanished' or (seen is not null and seen ->> 'at' is null)))`;

export interface Due {
  /** All that is deleted up to then, and was not before. */
  readonly workspaces: readonly Uuid[];
  readonly upTo: Micros;
}

/** [owner, name] in what `encodeWorkspace` writes, as `NAME`. */
export function nameOf(workspace: string): string {
  return `[${workspace.slice(40)}`;
}

// eslint-disable-next-line typescript/explicit-function-return-type
export function prepareRetirement(db: DatabaseSync) {
  // Of everybody who ever had this name, and is not left out.
  const deletedOf = db.prepare(
    `select exists (select 1 from fact as deleted where kind = 6 and id = ${ID} and at <= ? and not ${TAKEN_BACK})
     from workspace where ${NAME} = ? and not exists (select 1 from gone where id = ${ID})`,
  );
  const namesOf = db.prepare(`select ${NAME} from workspace where value > ? and value < ?`);
  const lastDeleted = db.prepare("select max(at) from fact where kind = 6 and at <= ?");
  const DUE =
    "from fact where kind = 6 and at > ? and at <= ? and not exists (select 1 from gone where gone.id = fact.id)";
  const someDue = db.prepare(`select at ${DUE} order by at limit ?`);
  const allDue = db.prepare(`select id ${DUE}`);
  const getRetired = db.prepare(
    "select value from retired where family = ? and name = ? and labels = ?",
  );
  const allOfName = db.prepare("select labels, value from retired where family = ? and name = ?");
  const deleteName = db.prepare("delete from retired where family = ? and name = ?");
  const putRetired = db.prepare(
    "insert or replace into retired (family, name, labels, value) values (?, ?, ?, ?)",
  );
  const deleteSeries = db.prepare("delete from series where family = ? and labels = ?");
  const isLeftOut = db.prepare("select 1 from gone where id = ?");
  const leaveOut = db.prepare("insert or ignore into gone (id) values (?)");
  const leftOut = db.prepare("select id from gone");
  const allRetired = db.prepare("select family, name, labels, value from retired");
  const arrays = [deletedOf, namesOf, lastDeleted, someDue, allDue, getRetired];
  for (const statement of [...arrays, allOfName, allRetired, leftOut])
    statement.setReturnArrays(true);
  /** When the last one was deleted, up to this time. */
  const lastDeletedBy = (by: Micros): Micros | null => first<number>(lastDeleted.get(by));
  return {
    /** Whether everybody who had this name was deleted up to then; false where nobody had it. */
    isRetired: (name: string, upTo: Micros): boolean => {
      const found = deletedOf.all(upTo, name) as unknown as [number][];
      return found.length > 0 && found.every(([deleted]) => deleted === 1);
    },
    /** All names that this workspace has had. */
    namesOf: (id: Uuid): readonly string[] =>
      (namesOf.all(`["${id}"`, `["${id}#`) as unknown as [string][]).map(([name]) => name),
    lastDeleted: lastDeletedBy,
    /** The next deletions, about so many, of those who are not left out; null: there are none at all. */
    deletedSince: (
      upTo: Micros | null,
      { by, atOnce }: { readonly by: Micros; readonly atOnce: number },
    ): Due | null => {
      const since = upTo ?? -Number.MAX_SAFE_INTEGER;
      const last = lastDeletedBy(by);
      if (last === null || last <= since) return null;
      const some = someDue.all(since, last, atOnce) as unknown as [Micros][];
      // All of them, and all who are left out: those are passed over once, after the first baseline.
      const end = some.length < atOnce ? last : (some.at(-1)?.[0] ?? last);
      const rows = allDue.all(since, end) as unknown as [Uint8Array][];
      return { upTo: end, workspaces: rows.map(([id]) => bytesToId(id)) };
    },
    getRetired: ({ family, name, labels }: HiddenKey): Float64Array | undefined => {
      const value = first<Uint8Array>(getRetired.get(family, name, labels));
      return value === null ? undefined : numbers(value);
    },
    putRetired: ({ family, name, labels, values }: HiddenSeries): void => {
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      putRetired.run(family, name, labels, bytes);
    },
    /** Hands out, and forgets, all series of a name. */
    takeRetired: (family: string, name: string): readonly HiddenSeries[] => {
      const rows = allOfName.all(family, name) as unknown as [string, Uint8Array][];
      if (rows.length > 0) deleteName.run(family, name);
      return rows.map(([labels, value]) => ({ family, name, labels, values: numbers(value) }));
    },
    forgetSeries: ({ family, labels }: Pick<HiddenKey, "family" | "labels">): void =>
      void deleteSeries.run(family, labels),
    /** Some of one family. */
    deleteRetired: db.prepare(
      `delete from retired where (family, name, labels) in
         (select family, name, labels from retired where family = ? limit ?)`,
    ),
    allRetired: function* (): Generator<HiddenSeries> {
      for (const row of allRetired.iterate()) {
        const [family, name, labels, value] = row as unknown as readonly [
          string,
          string,
          string,
          Uint8Array,
        ];
        yield { family, name, labels, values: numbers(value) };
      }
    },
    isLeftOut: (id: Uuid): boolean => isLeftOut.get(idToBytes(id)) !== undefined,
    leaveOut: (id: Uuid): void => void leaveOut.run(idToBytes(id)),
    leftOut: (): readonly Uuid[] =>
      (leftOut.all() as unknown as [Uint8Array][]).map(([id]) => bytesToId(id)),
    someLeftOut: (): boolean => leftOut.get() !== undefined,
    leaveNobodyOut: (): void => db.exec("delete from gone"),
  };
}

type Key = readonly [kind: number, id: Uint8Array];

/** Fills in whose an agent is where that was not recorded, by the names that are frozen with it. Says whether it was so. */
export function completeWhose(
  db: DatabaseSync,
  table: "fact" | "entity",
): (key: Key, told: Workspace | null, intern: (whose: Workspace) => number) => boolean {
  const frozen = db.prepare(
    `select names.value from ${table} join names on names.id = ${table}.names
     where kind = ? and ${table}.id = ? and workspace is null`,
  );
  const update = db.prepare(`update ${table} set workspace = ? where kind = ? and id = ?`);
  return (key, told, intern) => {
    const names = told && frozen.get(...key)?.["value"];
    if (!told || typeof names !== "string") return false;
    const { username: owner, workspace: name } = decodeAgentNames(names);
    update.run(intern({ id: told.id, owner, name }), ...key);
    return true;
  };
}

function first<T>(row: unknown): T | null {
  return ((row as [T | null] | undefined)?.[0] ?? null) as T | null;
}

/** SQLite's bytes are a copy in a buffer of its own, and so aligned. */
function numbers(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8);
}
