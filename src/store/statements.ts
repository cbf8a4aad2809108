// The store's SQL, prepared once. Values in, plain values out; no decisions here.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Uuid } from "../change/row.ts";
import type { BuildTraits, Fact, FactKind, Names, Workspace } from "../derive/fact.ts";
import type { EndedAs, Entity, PendingAgent } from "../derive/state.ts";
import type { StoredSeries } from "../metrics/fold.ts";
import { toLsn } from "../lsn.ts";
import {
  ENTITY_KINDS,
  FACT_KINDS,
  type FactRecord,
  type FinalRecord,
  decodeNames,
  decodeTraits,
  encodeAgents,
  encodeLive,
  encodeJob,
  encodeNames,
  encodeTraits,
  encodeWorkspace,
  endingOf,
  idToBytes,
  tookOf,
  workspaceId,
} from "./codec.ts";
import { type FactRow, ROW_COLUMNS } from "./aside.ts";
import type { Position } from "./position.ts";
import { completeWhose, nameOf, prepareRetirement } from "./retirement-sql.ts";

/** A fact as `FactRecord` has it, and the tables that it is in. */
export const FACT_COLUMNS = `fact.kind, fact.id, fact.at, fact.end_lsn, names.value as names, fact.took,
    ending.value as ending, traits.value as traits, workspace.value as workspace, fact.number,
    fact.queued, fact.provisioned, fact.completed`;
export const FACT_TABLES = `fact join names on names.id = fact.names left join ending on ending.id = fact.ending
    left join traits on traits.id = fact.traits left join workspace on workspace.id = fact.workspace`;
const FACT = `${FACT_COLUMNS} from ${FACT_TABLES}`;
const ENTITY_COLUMNS = `entity.id, created_at, names.value as names, traits.value as traits,
    workspace.value as workspace, entity.number, entity.queued, entity.provisioned, entity.completed, entity.live,
    entity.timeout, entity.due
  from entity join names on names.id = entity.names left join traits on traits.id = entity.traits
    left join workspace on workspace.id = entity.workspace`;
/** Facts about one id each that the tables should still say by the time that makes them final: attempted, ended, connected. */
const FINAL = "fact.kind <= 3";

/**
 * An id that was revised, with nothing seen, agrees with the tables again. It is kept: `verify` looks at an earlier moment than
 * the one up to which the stream has told, and two overlapping connections write their times in turns.
 */
export const DIFFERS = "(divergent.reason = 'vanished' or divergent.seen is not null)";

/** Interned texts held in memory: enough for the templates of a large deployment, small enough to forget. */
const INTERN_CACHE = 5_000;
/** While whole tables are read: the names of every agent there is, in the order of time, so none can be forgotten. 32 MB. */
const INTERN_CACHE_BULK = 200_000;

const NO_NAMES: Names = { organization: "", template: "", preset: "" };

export type Statements = ReturnType<typeof prepare>;

// eslint-disable-next-line typescript/explicit-function-return-type
export function prepare(db: DatabaseSync) {
  const cache = { most: INTERN_CACHE };
  const names = interner(db, "names", cache);
  const endings = interner(db, "ending", cache);
  const traits = interner(db, "traits", cache);
  const newNames: string[] = [];
  const workspaces = interner(db, "workspace", cache, (value) => newNames.push(nameOf(value)));
  const intern = (whose: Workspace): number => workspaces(encodeWorkspace(whose));
  /** Traits, workspace and number of a build; the traits of an agent's; in their place, what another job is. */
  const ofBuild = (of: Fact | Entity): [number | null, number | null, number | null] => {
    if ("type" in of) return [traits(encodeJob(of)), null, null];
    if ("light" in of) {
      const { light, workspace } = of;
      return [light && traits(encodeTraits(light.traits)), workspace && intern(workspace), null];
    }
    if (!("traits" in of)) return [null, null, null];
    const known = of.workspace !== null;
    return [
      traits(encodeTraits(of.traits)),
      known ? intern(of.workspace) : null,
      known ? of.number : null,
    ];
  };
  /** Jobs that build no workspace have no names. */
  const namesIn = (of: Fact | Entity): number =>
    names(encodeNames("names" in of ? of.names : NO_NAMES));
  // Not `insert or ignore`: that would pass over a value that breaks a constraint, too.
  const insertFact = db.prepare(
    `insert into fact (${ROW_COLUMNS.join()}) values (${ROW_COLUMNS.map(() => "?").join()}) on conflict (kind, id) do nothing`,
  );
  const insertEntity = db.prepare(
    "insert into entity (kind, id, created_at, names, traits, workspace, number, queued, provisioned, completed, live, timeout, due) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (kind, id) do nothing",
  );
  const completeFact = db.prepare(
    `update fact set traits = coalesce(traits, ?), workspace = ?, number = ?, names = ?,
       took = case when traits is null then case when at = ? then ? end else took end
     where kind = ? and id = ? and workspace is null`,
  );
  const namesOf = db.prepare(
    "select names.value from fact join names on names.id = fact.names where kind = ? and fact.id = ?",
  );
  const completeEntity = db.prepare(
    "update entity set traits = coalesce(traits, ?), workspace = ?, number = ? where kind = ? and id = ? and workspace is null",
  );
  const completeLight = (table: "fact" | "entity"): StatementSync =>
    db.prepare(
      `update ${table} set traits = ?, queued = ?, provisioned = ?, completed = ? where kind = ? and id = ? and completed is null`,
    );
  const [completeConnected, completeAgent] = [completeLight("fact"), completeLight("entity")];
  const [whoseConnected, whoseAgent] = [completeWhose(db, "fact"), completeWhose(db, "entity")];
  const completeLimit = db.prepare(
    "update entity set timeout = ?, due = ? where kind = ? and id = ? and timeout is null",
  );
  const putDue = db.prepare("update entity set due = ? where kind = ? and id = ?");
  const deleteEntity = db.prepare("delete from entity where kind = ? and id = ?");
  const putSeries = db.prepare(
    "insert into series (family, labels, value) values (?, ?, ?) on conflict (family, labels) do update set value = excluded.value",
  );
  const putPosition = db.prepare(
    `insert or replace into position (one, system_id, timeline, server, database, slot, publication, consistent_lsn, end_lsn)
     values (1, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const getPosition = db.prepare("select * from position");
  getPosition.setReadBigInts(true);
  const hasFact = db.prepare("select 1 from fact where kind = ? and id = ?");
  const getFact = db.prepare(`select ${FACT} where fact.kind = ? and fact.id = ?`);
  const getFinal = db.prepare(
    "select fact.at, fact.took, ending.value, fact.number from fact left join ending on ending.id = fact.ending where fact.kind = ? and fact.id = ?",
  );
  const endedAs = db.prepare(
    "select fact.traits, workspace.value from fact left join workspace on workspace.id = fact.workspace where kind = ? and fact.id = ?",
  );
  const getDivergent = db.prepare(
    `select 1 from divergent where kind = ? and id = ? and ${DIFFERS}`,
  );
  const traitsOf = db.prepare("select value from traits where id = ?");
  /** Some dozens. */
  const decodedTraits = new Map<number | null, BuildTraits>();
  // Objects for rows would be made straight in the old generation, which grew by 100 MB before it was collected.
  const allSeries = db.prepare("select family, labels, value from series order by id");
  for (const statement of [hasFact, getFact, getFinal, endedAs, allSeries])
    statement.setReturnArrays(true);
  return {
    ...prepareRetirement(db),
    /** Names [owner, name] that workspaces were stored with for the first time since this was asked. */
    takeNewNames: (): readonly string[] => newNames.splice(0),
    /** Whether to hold more interned texts in memory. */
    expectMany: (many: boolean): void => {
      cache.most = many ? INTERN_CACHE_BULK : INTERN_CACHE;
      names.shrink();
      endings.shrink();
      traits.shrink();
      workspaces.shrink();
    },
    /** As `ROW_COLUMNS` has it; its texts are interned by that. */
    rowOf: (fact: Fact): FactRow => {
      const ending = endingOf(fact);
      return [
        FACT_KINDS[fact.kind],
        idToBytes(fact.id),
        fact.at,
        fact.end,
        namesIn(fact),
        tookOf(fact),
        ending === null ? null : endings(ending),
        ...ofBuild(fact),
        ...lightTimes(fact),
      ];
    },
    /** Whether it is new. */
    insertFact: (row: FactRow): boolean => insertFact.run(...row).changes === 1,
    /** Fills in what was not recorded when this fact was. `older`: an older version may have written it. The duration is of the end that was counted, or not known. */
    completeFact: (fact: Fact, { older }: { readonly older: boolean }): boolean => {
      const key = [FACT_KINDS[fact.kind], idToBytes(fact.id)] as const;
      if (fact.kind === "connected") {
        const lit =
          fact.light !== null &&
          completeConnected.run(ofBuild(fact)[0], ...lightTimes(fact), ...key).changes === 1;
        return (older && whoseConnected(key, fact.workspace, intern)) || lit;
      }
      if (fact.kind !== "attempted" && fact.kind !== "ended") return false;
      const frozen = namesOf.get(...key)?.["value"];
      if (typeof frozen !== "string") return false;
      const { version } = fact.names;
      const completed = names(encodeNames({ ...decodeNames(frozen), version }));
      const row = [...ofBuild(fact), completed, fact.at, tookOf(fact), ...key] as const;
      return completeFact.run(...row).changes === 1;
    },
    completeEntity: (entity: Entity, { older }: { readonly older: boolean }): void => {
      const key = [ENTITY_KINDS[entity.kind], idToBytes(entity.id)] as const;
      if (entity.kind === "build") completeEntity.run(...ofBuild(entity), ...key);
      if (entity.kind !== "agent") return;
      if (entity.light) completeAgent.run(ofBuild(entity)[0], ...lightTimes(entity), ...key);
      if (older) whoseAgent(key, entity.workspace, intern);
      if (entity.timeout !== null) completeLimit.run(...limitOf(entity), ...key);
    },
    isEmpty: db.prepare(
      "select not exists (select 1 from fact) and not exists (select 1 from entity) as empty",
    ),
    hasFact: (kind: FactKind, id: Uuid): boolean =>
      hasFact.get(FACT_KINDS[kind], idToBytes(id)) !== undefined,
    /** What a sighting of this fact may differ from; null when there is no such fact. */
    getFinal: (kind: FactKind, id: Uuid): FinalRecord | null => {
      const row = getFinal.get(FACT_KINDS[kind], idToBytes(id)) as
        | readonly [number, number | null, string | null, number | null]
        | undefined;
      if (row === undefined) return null;
      const [at, took, ending, number] = row;
      return { at, took, ending, number };
    },
    endedAs: (job: Uuid): EndedAs | undefined => {
      const row = endedAs.get(FACT_KINDS.ended, idToBytes(job)) as
        | readonly [number | null, string | null]
        | undefined;
      if (row === undefined) return undefined;
      const [id, workspace] = row;
      let found = decodedTraits.get(id);
      if (found === undefined) {
        const json = id === null ? null : String(traitsOf.get(id)?.["value"]);
        decodedTraits.set(id, (found = decodeTraits(json)));
      }
      return { traits: found, workspace: workspace === null ? null : workspaceId(workspace) };
    },
    getFact: (kind: FactKind, id: Uuid): FactRecord | undefined => {
      const row = getFact.get(FACT_KINDS[kind], idToBytes(id));
      return row && factRecord(row as unknown as FactTuple);
    },
    allFacts: db.prepare(`select ${FACT}`),
    recentFacts: db.prepare(
      `select ${FACT} left join divergent on divergent.kind = fact.kind and divergent.id = fact.id
       where ${FINAL} and divergent.id is null order by fact.end_lsn desc limit ?`,
    ),
    factsAfter: db.prepare(
      `select ${FACT} where fact.kind = :kind and fact.id >= :from and fact.id <= :to and fact.end_lsn > :end`,
    ),
    rebase: db.prepare(
      "update fact set end_lsn = :end where kind = :kind and id >= :from and id <= :to and end_lsn > :end",
    ),
    insertEntity: (entity: Entity): boolean => {
      const key = [ENTITY_KINDS[entity.kind], idToBytes(entity.id)] as const;
      const live = liveOf(entity);
      const more = [...ofBuild(entity), ...lightTimes(entity), live, ...limitOf(entity)] as const;
      return insertEntity.run(...key, entity.createdAt, namesIn(entity), ...more).changes === 1;
    },
    /** Of an agent that waits already. */
    putDue: ({ id, due }: PendingAgent): void => {
      putDue.run(due, ENTITY_KINDS.agent, idToBytes(id));
    },
    allDue: db.prepare("select id, due from entity where due is not null"),
    deleteEntity: (entity: Entity): boolean =>
      deleteEntity.run(ENTITY_KINDS[entity.kind], idToBytes(entity.id)).changes === 1,
    getEntity: db.prepare(`select ${ENTITY_COLUMNS} where kind = ? and entity.id = ?`),
    allEntities: db.prepare(`select ${ENTITY_COLUMNS} where kind = ?`),
    allEntityIds: db.prepare("select id from entity where kind = ?"),
    countEntities: db.prepare("select count(*) as n from entity where kind = ?"),
    putSeries: ({ family, labels, values }: StoredSeries): void => {
      putSeries.run(
        family,
        labels,
        new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      );
    },
    /** Some of one family. */
    deleteSeries: db.prepare(
      "delete from series where id in (select id from series where family = ? limit ?)",
    ),
    /** As arrays. */
    allSeries,
    getDivergent,
    isListed: ({ kind, id }: Pick<Fact, "kind" | "id">): boolean =>
      getDivergent.get(FACT_KINDS[kind], idToBytes(id)) !== undefined,
    putDivergent: db.prepare(
      "insert or replace into divergent (kind, id, reason, seen) values (?, ?, ?, ?)",
    ),
    settleDivergent: db.prepare(
      "update divergent set reason = 'revised', seen = null where kind = ? and id = ?",
    ),
    allDivergent: db.prepare(`select kind, id, reason, seen from divergent where ${DIFFERS}`),
    countDivergent: db.prepare(
      `select kind, count(*) as n from divergent where ${DIFFERS} group by kind`,
    ),
    getMeta: db.prepare("select value from meta where key = ?"),
    deleteMeta: db.prepare("delete from meta where key = ?"),
    putMeta: db.prepare("insert or replace into meta (key, value) values (?, ?)"),
    putPosition: (p: Position): void => {
      putPosition.run(
        p.systemId,
        p.timeline,
        p.server,
        p.database,
        p.slot,
        p.publication,
        p.consistent,
        p.end,
      );
    },
    getPosition: (): Position | null => readPosition(getPosition),
  };
}

/** `FACT_COLUMNS`, in their order. */
type FactTuple = readonly [
  kind: number,
  id: Uint8Array,
  at: number,
  end: number,
  names: string,
  took: number | null,
  ending: string | null,
  traits: string | null,
  workspace: string | null,
  number: number | null,
  queued: number | null,
  provisioned: number | null,
  completed: number | null,
];

function factRecord(row: FactTuple): FactRecord {
  const [kind, id, at, end_lsn, names, took, ending, traits, workspace, number, ...light] = row;
  const [queued, provisioned, completed] = light;
  const of = { names, traits, workspace, number, queued, provisioned, completed };
  return { kind, id, at, end_lsn, took, ending, ...of };
}

/** What changes of those that are stored again when they change. */
function liveOf(entity: Entity): string | null {
  if (entity.kind === "workspace") return encodeLive(entity);
  return entity.kind === "start" ? encodeAgents(entity) : null;
}

/** What is known of the time to first light, where it is about an agent. */
function lightTimes(of: Fact | Entity): [number | null, number | null, number | null] {
  if (!("light" in of) || !of.light) return [null, null, null];
  return [of.light.queued, of.light.provisioned, of.light.completedAt];
}

/** Of an agent that waits. */
function limitOf(entity: Entity): [number | null, number | null] {
  return entity.kind === "agent" ? [entity.timeout, entity.due] : [null, null];
}

function readPosition(statement: StatementSync): Position | null {
  const row = statement.get();
  if (!row) return null;
  return {
    systemId: String(row["system_id"]),
    timeline: Number(row["timeline"]),
    server: String(row["server"]),
    database: String(row["database"]),
    slot: String(row["slot"]),
    publication: String(row["publication"]),
    consistent: toLsn(row["consistent_lsn"] as bigint),
    end: toLsn(row["end_lsn"] as bigint),
  };
}

interface Interner {
  (value: string): number;
  /** Forgets what is more than the cache may hold. */
  shrink(): void;
}

/** Text → small integer, through a table. */
function interner(
  db: DatabaseSync,
  table: "names" | "ending" | "traits" | "workspace",
  limit: { readonly most: number },
  onNew?: (value: string) => void,
): Interner {
  const find = db.prepare(`select id from ${table} where value = ?`);
  const insert = db.prepare(
    `insert into ${table} (value) values (?) on conflict (value) do nothing`,
  );
  const cache = new Map<string, number>();
  const shrink = (): void => {
    if (cache.size >= limit.most) cache.clear();
  };
  const intern = (value: string): number => {
    let id = cache.get(value);
    if (id !== undefined) return id;
    const { changes, lastInsertRowid } = insert.run(value);
    id = Number(changes === 1 ? lastInsertRowid : find.get(value)?.["id"]);
    if (changes === 1) onNew?.(value);
    shrink();
    cache.set(value, id);
    return id;
  };
  return Object.assign(intern, { shrink });
}
