// What the store holds, read from the file as it is: uncommitted writes of this process included. What can not be read is named as damage.

import { type Fact, type FactKind } from "../derive/fact.ts";
import { ENTITIES, type EntityKind, type State } from "../derive/state.ts";
import type { StoredSeries } from "../metrics/fold.ts";
import type { HiddenSeries } from "../metrics/hiding.ts";
import type { Micros } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { Lsn } from "../lsn.ts";
import {
  type EntityRecord,
  type FactRecord,
  bytesToId,
  decodeEntity,
  decodeFact,
  ENTITY_KINDS,
  FACT_KINDS,
  factKind,
  idToBytes,
} from "./codec.ts";
import { reading } from "./file.ts";
import type { Statements } from "./statements.ts";

/** In `meta`: see sql/store/000004.sql. */
export const LACKS = "lacks";
/** In `meta`: the ledger began at a slot, and has nothing of what came before. */
export const SINCE_SLOT = "since_slot";

/** Longer than what follows the first byte of any id. */
const ALL_ONES = new Uint8Array(16).fill(0xff);

/** Facts that the tables should still say by the time that makes them final. */
const TOLD_BY_TABLES = (
  ["attempted", "ended", "connected", "started", "ran", "ready", "overdue"] as const
).map((kind) => FACT_KINDS[kind]);

/** All facts of these kinds, in ranges of some milliseconds: by the first byte of the id. */
export function* idRanges(kinds: readonly number[] = Object.values(FACT_KINDS)): Generator<{
  readonly kind: number;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}> {
  for (const kind of kinds)
    for (let first = 0; first < 256; first += 1)
      yield { kind, from: Uint8Array.of(first), to: Uint8Array.of(first, ...ALL_ONES) };
}

export class LedgerReader {
  readonly #path: string;
  readonly #sql: Statements;

  constructor(path: string, sql: Statements) {
    this.#path = path;
    this.#sql = sql;
  }

  /** False: written by a version that recorded less, so it lacks facts until a baseline has `complete`d it. */
  get complete(): boolean {
    return reading(this.#path, () => this.#sql.getMeta.get(LACKS) === undefined);
  }

  /** What derivation reads: the tables as they are, uncommitted writes of this process included. */
  get state(): State {
    const sql = this.#sql;
    const path = this.#path;
    const entity = (kind: EntityKind, id: Uuid): ReturnType<typeof decodeEntity> | undefined =>
      reading(path, () => {
        const record = sql.getEntity.get(ENTITY_KINDS[kind], idToBytes(id));
        return record && decodeEntity(kind, record as unknown as EntityRecord);
      });
    const fact = <K extends FactKind>(kind: K, id: Uuid): FactOf<K> | undefined =>
      reading(path, () => {
        const found = sql.getFact(kind, id);
        return found && (decodeFact(found) as FactOf<K>);
      });
    return {
      pendingBuild: (job) => {
        const found = entity("build", job);
        return found?.kind === "build" ? found : undefined;
      },
      pendingAgent: (agent) => {
        const found = entity("agent", agent);
        return found?.kind === "agent" ? found : undefined;
      },
      workspace: (id) => {
        const found = entity("workspace", id);
        return found?.kind === "workspace" ? found : undefined;
      },
      runningJob: (job) => {
        const found = entity("job", job);
        return found?.kind === "job" ? found : undefined;
      },
      pendingStart: (job) => {
        const found = entity("start", job);
        return found?.kind === "start" ? found : undefined;
      },
      known: (kind, id) => reading(path, () => sql.hasFact(kind, id)),
      fact,
      ended: (job) => fact("ended", job),
      endedAs: (job) => reading(path, () => sql.endedAs(job)),
      createdBy: (workspace) =>
        reading(path, () => sql.getFinal("created", workspace))?.number ?? undefined,
      deletedBy: (workspace) =>
        reading(path, () => sql.getFinal("deleted", workspace))?.number ?? undefined,
      // What an older version wrote may be either.
      whole: reading(path, () => sql.getMeta.get(SINCE_SLOT) === undefined) && this.complete,
    };
  }

  /** Ids of everything that waits. */
  *waiting(kind: EntityKind): Generator<Uuid> {
    yield* this.#each(this.#sql.allEntityIds.iterate(ENTITY_KINDS[kind]), (row) =>
      bytesToId(row["id"]),
    );
  }

  /** Agents whose time is not up, as far as is told. */
  *deadlines(): Generator<{ readonly agent: Uuid; readonly due: Micros }> {
    yield* this.#each(this.#sql.allDue.iterate(), (row) => ({
      agent: bytesToId(row["id"]),
      due: Number(row["due"]),
    }));
  }

  /** The whole ledger, in no particular order. */
  *facts(): Generator<Fact> {
    yield* this.#each(this.#sql.allFacts.iterate(), factOf);
  }

  /** The newest facts that the tables should still say, newest first. Reads the whole ledger: for rare moments. */
  recent(limit: number): Fact[] {
    return [...this.#each(this.#sql.recentFacts.iterate(limit), factOf)];
  }

  /**
   * Facts that the tables should still say and that were told by something after this position. Reads the whole ledger, in
   * slices of some milliseconds; most are empty.
   */
  *factsAfter(end: Lsn): Generator<readonly Fact[]> {
    for (const range of idRanges(TOLD_BY_TABLES))
      yield reading(this.#path, () => this.#sql.factsAfter.all({ ...range, end }).map(factOf));
  }

  /** The cached fold, in order of birth: for `load`, which names what is damaged. */
  *storedSeries(): Generator<StoredSeries> {
    for (const row of this.#sql.allSeries.iterate()) {
      const [family, labels, bytes] = row as unknown as [string, string, Uint8Array];
      // SQLite's bytes are a copy in a buffer of its own, and so aligned.
      const values = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8);
      yield { family, labels, values };
    }
  }

  /** Series that are kept and not shown, in no particular order: for `load`, as above. */
  *retiredSeries(): Generator<HiddenSeries> {
    yield* this.#sql.allRetired();
  }

  /** Ids whose rows no longer say what was counted. */
  *divergent(): Generator<{ kind: FactKind; id: Uuid; reason: string; seen: string | null }> {
    yield* this.#each(this.#sql.allDivergent.iterate(), (row) => ({
      kind: factKind(row["kind"]),
      id: bytesToId(row["id"]),
      reason: String(row["reason"]),
      seen: typeof row["seen"] === "string" ? row["seen"] : null,
    }));
  }

  /** Reads rows one by one; what can not be read is named as damage. */
  *#each<T>(rows: Iterator<Row>, decode: (row: Row) => T): Generator<T> {
    try {
      for (;;) {
        const next = reading(this.#path, () => {
          const { done, value } = rows.next();
          return done === true ? null : { value: decode(value) };
        });
        if (next === null) return;
        yield next.value;
      }
    } finally {
      rows.return?.();
    }
  }

  /** Everything that waits or is there; agents too, because their series exist at 0. */
  *entities(kinds: readonly EntityKind[] = ENTITIES): Generator<ReturnType<typeof decodeEntity>> {
    for (const kind of kinds)
      yield* this.#each(this.#sql.allEntities.iterate(ENTITY_KINDS[kind]), (row) =>
        decodeEntity(kind, row as unknown as EntityRecord),
      );
  }
}

type Row = Readonly<Record<string, unknown>>;

type FactOf<K extends FactKind> = Extract<Fact, { kind: K }>;

const factOf = (row: Row): Fact => decodeFact(row as unknown as FactRecord);
