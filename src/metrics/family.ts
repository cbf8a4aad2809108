// What a metric is: its name, what it means, and which facts feed it how. The families themselves: families/.

import type { Micros } from "../change/micros.ts";
import type { AgentNames, Attempted, Fact, Names } from "../derive/fact.ts";
import type { Entity, LiveWorkspace } from "../derive/state.ts";

/** Values in the order of the family's `labels`. */
export type LabelValues = readonly string[];

interface Described {
  /** Without its prefix. */
  readonly name: string;
  /** `coder`: takes the configurable prefix, a drop-in for what coderd exports; `own`: `firstlight_`. */
  readonly prefix: "coder" | "own";
  readonly help: string;
  /** For the documentation: what coderd exports under this name, and where it differs. Absent: nothing. */
  readonly upstream?: string;
  readonly labels: readonly string[];
  /** Where in `labels` the owner and the name of a workspace are. Absent: a label set is of more than one workspace, and never retires. */
  readonly whose?: readonly [owner: number, name: number];
  /** Whether it is shown without being asked for, or can not be switched off. Absent: only where `--families` names it. */
  readonly shown?: "by default" | "always";
  /** Raised by hand when the same facts shall feed it otherwise: what is stored of it is then folded again. */
  readonly version?: number;
}

/** What a fact adds: to which label set, and for histograms the duration that is observed. */
export interface Sample {
  readonly labels: LabelValues;
  readonly took: Micros;
}

/** A total: the fold of facts. */
export interface FoldedFamily extends Described {
  readonly type: "counter" | "histogram";
  /** Upper bounds in seconds, ascending, without +Inf. Histograms only. */
  readonly buckets: readonly number[];
  /** Null when it does not feed this family. */
  readonly feeds: (fact: Fact) => readonly Sample[] | null;
  /** Label sets that exist at 0 from the beginning. */
  readonly initial?: readonly LabelValues[];
  /** Label sets that must exist at 0 once a build of these names can happen. */
  readonly offer?: (names: Names, errorCodes: ReadonlySet<string>) => readonly LabelValues[];
  /** Label sets that must exist at 0 once this build is attempted: however it ends, that is not its series' first sample. */
  readonly begun?: (build: Attempted) => readonly LabelValues[];
  /** The label set that must exist at 0 once this agent waits for its first connection. */
  readonly expect?: (names: AgentNames) => LabelValues;
  /** Made by `retiredOf`: what feeds it is what feeds this one, where it is hidden there. */
  readonly hiddenIn?: FoldedFamily;
}

/** A gauge of what is in flight: `count` of the waiting entities, or the `oldest` one's creation time. */
export interface PendingFamily extends Described {
  readonly type: "gauge";
  readonly value: "count" | "oldest";
  /** Label values of an entity that counts here; null for one that does not. */
  readonly of: (entity: Entity) => LabelValues | null;
  /** As for folded families. Only for `count`. */
  readonly initial?: readonly LabelValues[];
  readonly offer?: (names: Names) => readonly LabelValues[];
}

/** A gauge of the workspaces that are there: how many have these labels. A label set at 0 is absent, unless it is `initial`. */
export interface LiveFamily extends Described {
  readonly type: "gauge";
  readonly value: "live";
  readonly of: (workspace: LiveWorkspace) => LabelValues;
  /** What each counts. Default: 1. */
  readonly each?: (workspace: LiveWorkspace) => number;
  readonly initial?: readonly LabelValues[];
  readonly offer?: never;
}

export type Family = FoldedFamily | PendingFamily | LiveFamily;

/** The exposed name of a family. */
export function fullName(family: Family, prefix: string): string {
  return (family.prefix === "own" ? "firstlight_" : prefix) + family.name;
}

/** One more of this label set. */
export const one = (labels: LabelValues): readonly Sample[] => [{ labels, took: 0 }];

/** Of the workspaces that these labels are about: a JSON array [owner, name]; null where the family names none. */
export function nameIn({ whose }: Pick<Family, "whose">, labels: LabelValues): string | null {
  if (!whose) return null;
  const [owner, name] = whose;
  return JSON.stringify([labels[owner], labels[name]]);
}

/**
 * Beside a family whose labels name workspaces: what its series count that are not shown any more, over all workspaces. Sums over both
 * never fall.
 */
export function retiredOf(family: FoldedFamily): FoldedFamily {
  const { name, type, buckets, feeds, shown } = family;
  return {
    name: `retired_${name}`,
    prefix: "own",
    type,
    help: `What series of ${name} have counted that are not shown any more, because their workspaces are deleted: sums over workspaces, of both together, never fall. This one falls when such a series comes back, so rate() and increase() are not for it.`,
    ...(shown === undefined ? {} : { shown }),
    labels: keptLabels(family, family.labels),
    buckets,
    feeds,
    hiddenIn: family,
  };
}

/** Labels, or their values, without those that name a workspace. */
export function keptLabels<T>(
  { whose }: Pick<Family, "whose">,
  labels: readonly T[],
): readonly T[] {
  return labels.filter((_, i) => !whose?.includes(i));
}
