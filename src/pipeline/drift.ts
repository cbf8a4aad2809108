// What a difference between ledger and tables is called: whether the stream told of it, and whether the row is still there.

import type { Log } from "../log.ts";
import { SECOND, formatTimestamptz } from "../change/micros.ts";
import type { Uuid } from "../change/row.ts";
import type { DriftKind } from "../metrics/vitals.ts";
import { present } from "../postgres/present.ts";
import type { Session } from "../postgres/session.ts";
import type { Difference, Said } from "../store/compare.ts";

/** So many ids of each kind of drift are named; all are counted. */
const NAMED = 100;

/** An id on which ledger and tables disagree, and the stream did not say why. */
export interface Drift extends Difference {
  readonly drift: DriftKind;
}

export interface Findings {
  /**
   * missing: only the tables say it. extra: only the ledger says it, though the row is there. revised: they say different
   * things. vanished: the ledger says it, and the row is gone.
   */
  readonly drift: Readonly<Record<DriftKind, number>>;
  /** Differences of ids whose rows the stream saw change after they were counted. */
  readonly explained: number;
  /** Facts of before a ledger that began with `--baseline none`, which has only what came after. */
  readonly before: number;
  /** Of each kind of drift the first hundred, in no particular order. */
  readonly named: readonly Drift[];
}

export interface SorterOptions {
  /** Inside the snapshot in which the tables were read. */
  readonly reader: Session;
  readonly log: Log;
  /** False: the ledger began with `--baseline none`. */
  readonly fromTables: boolean;
}

const ROW_OF = {
  attempted: "build",
  ended: "job",
  connected: "agent",
  created: "workspace",
  deleted: "workspace",
  started: "started",
  ran: "ran",
  ready: "ready",
  overdue: "agent",
} as const;

/** Sorts differences: counts all of them and names some. */
export class Sorter {
  readonly #options: SorterOptions;
  readonly #drift: Record<DriftKind, number> = { missing: 0, extra: 0, revised: 0, vanished: 0 };
  readonly #named: Drift[] = [];
  #explained = 0;
  #before = 0;

  constructor(options: SorterOptions) {
    this.#options = options;
  }

  get findings(): Findings {
    const [drift, named] = [this.#drift, this.#named];
    return { drift, explained: this.#explained, before: this.#before, named };
  }

  /** Takes differences of one kind of fact. Throws classed errors. */
  async add(differences: readonly Difference[]): Promise<void> {
    const { reader, fromTables, log } = this.#options;
    const open: Difference[] = [];
    for (const difference of differences) {
      const { kind: fact, id, explained, ledger } = difference;
      if (explained) {
        this.#explained += 1;
        log.debug("the stream saw this row change after it was counted", { fact, id });
      } else if (ledger === null && !fromTables) this.#before += 1;
      else open.push(difference);
    }
    const [first] = open;
    if (!first) return;
    const untold = open.filter(({ tables }) => tables === null).map(({ id }) => id);
    const there = await present(reader, ROW_OF[first.kind], untold);
    for (const difference of open) {
      const drift = driftOf(difference, there);
      this.#drift[drift] += 1;
      if (this.#drift[drift] <= NAMED) this.#named.push({ ...difference, drift });
    }
  }
}

function driftOf({ id, ledger, tables }: Difference, there: ReadonlySet<Uuid>): DriftKind {
  if (ledger === null) return "missing";
  if (tables !== null) return "revised";
  return there.has(id) ? "extra" : "vanished";
}

/** What one side says, for people: `failure (provisioner, other), 12 s, at 2026-08-21 10:00:00.000000+00`. */
export function describe(said: Said | null): string {
  if (said === null) return "nothing";
  const { at, took, ending, number } = said;
  if (number !== null) return `by build ${number}, at ${formatTimestamptz(at)}`;
  const failed = ending?.status === "failure" ? ` (${ending.stage}, ${ending.errorCode})` : "";
  const end = ending ? `${ending.status}${failed}${took === null ? " " : ", "}` : "";
  const what = end + (took === null ? "" : `${took / SECOND} s, `);
  return `${what}at ${formatTimestamptz(at)}`;
}

/** How many ids drifted, of all kinds. */
export function driftCount({ drift }: Pick<Findings, "drift">): number {
  return Object.values(drift).reduce((sum, count) => sum + count, 0);
}
