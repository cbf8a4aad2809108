// What a store whose series retire must show, told from facts alone: everything folded, without the lines of names that nobody has any more.

import type { Uuid } from "../../src/change/row.ts";
import type { Deleted, Fact, Workspace } from "../../src/derive/fact.ts";
import type { Entity } from "../../src/derive/state.ts";
import { Fold } from "../../src/metrics/fold.ts";
import { CATALOG } from "./folding.ts";
import { sortedPage } from "./memory-state.ts";

const VALUE = String.raw`"((?:[^"\\]|\\.)*)"`;
const BY_NAME = new RegExp(
  String.raw`^coderd_(?:workspace_builds_total\{workspace_owner|agents_first_connection_seconds\w*\{.*username)=${VALUE},workspace_name=${VALUE}`,
);

/** Whether this line of a page is of a family whose labels name workspaces. */
export const isByName = (line: string): boolean => BY_NAME.test(line);

const unescaped = (text: string): string =>
  text.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));

/** Whether this line of a page is about what is hidden. */
export const isOfHidden = (line: string): boolean => line.startsWith("firstlight_retired_");

/** Lines of single workspaces, as those of all together: without what has counted nothing. */
function summedUp(lines: readonly string[]): readonly string[] {
  const sums = new Map<string, number>();
  for (const line of lines) {
    const [, name = "", labels = "", value] = /^coderd_(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    const kept = labels
      .replaceAll(/(?:workspace_owner|username|workspace_name)="(?:[^"\\]|\\.)*",?/g, "")
      .replace(/,$/, "");
    const series = `firstlight_retired_${name}{${kept}}`;
    sums.set(series, (sums.get(series) ?? 0) + Math.round(Number(value) * 1e6));
  }
  const hasCounted = (series: string): boolean => {
    const count = series
      .replace(/,le="[^"]*"\}$/, "}")
      .replace(/_(?:bucket|sum|count)\{/, "_count{");
    return sums.get(count) !== 0;
  };
  return [...sums]
    .filter(([series]) => hasCounted(series))
    .map(([series, sum]) => `${series} ${sum / 1e6}`);
}

const nameOf = ({ owner, name }: Pick<Workspace, "owner" | "name">): string =>
  JSON.stringify([owner, name]);

/** Facts and what waits, as they came, and what is known of deletions. */
export class Told {
  readonly facts: Fact[] = [];
  readonly waiting: Entity[] = [];
  readonly deletions = new Map<Uuid, Deleted>();
  /** Deletions that were taken back. */
  readonly doubted = new Set<Uuid>();
  readonly leftOut = new Set<Uuid>();
  /** Deletions up to here are retired; null: none. */
  upTo: number | null = null;
  readonly #known = new Set<string>();
  #had = { known: 0, whose: new Map<string, Set<Uuid>>() };

  add(fact: Fact): void {
    const key = `${fact.kind} ${fact.id}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.facts.push(fact);
    if (fact.kind === "deleted") this.deletions.set(fact.id, fact);
  }

  /** A commit at this time. */
  commit(by: number | null): void {
    if (by === null) return;
    for (const { at } of this.deletions.values())
      if (at <= by && (this.upTo === null || at > this.upTo)) this.upTo = at;
  }

  get page(): readonly string[] {
    const fold = new Fold(CATALOG);
    // Left out of these families only: the pages of the others are theirs.
    const whole = new Fold(CATALOG);
    for (const fact of this.facts) {
      whole.add(fact);
      if (!this.#isLeftOut(fact)) fold.add(fact);
    }
    for (const entity of this.waiting) {
      whole.put(entity);
      if (!this.#isLeftOut(entity)) fold.put(entity);
    }
    const byName = sortedPage(fold.publish()).filter(isByName);
    const shown = byName.filter((line) => this.#isShown(line));
    const hidden = summedUp(byName.filter((line) => !this.#isShown(line)));
    const others = sortedPage(whole.publish()).filter((line) => !isByName(line));
    return [...others, ...shown, ...hidden].sort();
  }

  #isLeftOut(of: Fact | Entity): boolean {
    return "workspace" in of && of.workspace !== null && this.leftOut.has(of.workspace.id);
  }

  #isShown(line: string): boolean {
    const [, owner, name = ""] = BY_NAME.exec(line) ?? [];
    if (owner === undefined) return false;
    const whose = this.#whose().get(nameOf({ owner: unescaped(owner), name: unescaped(name) }));
    const counted = [...(whose ?? [])].filter((id) => !this.leftOut.has(id));
    return counted.length === 0 || !counted.every((id) => this.#isGone(id));
  }

  /** All who ever had a name. */
  #whose(): ReadonlyMap<string, ReadonlySet<Uuid>> {
    const known = this.facts.length + this.waiting.length;
    if (this.#had.known === known) return this.#had.whose;
    const whose = new Map<string, Set<Uuid>>();
    for (const of of [...this.facts, ...this.waiting]) {
      if (!("workspace" in of) || of.workspace === null) continue;
      const name = nameOf(of.workspace);
      whose.set(name, (whose.get(name) ?? new Set()).add(of.workspace.id));
    }
    this.#had = { known, whose };
    return whose;
  }

  #isGone(id: Uuid): boolean {
    const at = this.deletions.get(id)?.at;
    if (at === undefined || this.upTo === null || this.doubted.has(id)) return false;
    return at <= this.upTo;
  }
}
