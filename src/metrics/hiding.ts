// Series that are not shown because the workspaces that they name are deleted. Facts may still come, and the same owner may make a workspace of
// that name again: then they go on where they were. So their numbers are kept, by the store; here is what was written of them.

import type { Uuid } from "../change/row.ts";
import { type Family, type LabelValues, nameIn } from "./family.ts";
import { type TableBuilder, widthOf } from "./pages.ts";

/** What the store knows of them. Names are JSON arrays [owner, name]. */
export interface Retirement {
  /** Whether this workspace counts in no series that names one: it was deleted before the ledger began. */
  isLeftOut(workspace: Uuid): boolean;
  /** Whether nobody has a workspace of this name any more, for long enough. */
  isRetired(name: string): boolean;
  /** The numbers of a series of a retired name, to keep; undefined where there are none. */
  numbersOf(series: HiddenKey): Float64Array | undefined;
}

/** Nothing ever retires. */
export const NO_RETIREMENT: Retirement = {
  isLeftOut: () => false,
  isRetired: () => false,
  numbersOf: () => undefined,
};

export interface HiddenKey {
  readonly family: string;
  readonly name: string;
  /** JSON array of the label values. */
  readonly labels: string;
}

export interface HiddenSeries extends HiddenKey {
  readonly values: Float64Array;
}

/** Writes to hidden series, ahead of the store. */
export class Hiding {
  readonly #retirement: Retirement;
  readonly #written = new Map<string, HiddenSeries>();

  constructor(retirement: Retirement) {
    this.#retirement = retirement;
  }

  /** Series written since the last `take`. */
  get size(): number {
    return this.#written.size;
  }

  /** As of `Retirement`, in a family that names workspaces; null: not known which one it is. */
  leavesOut({ whose }: Pick<Family, "whose">, workspace: Uuid | null): boolean {
    return whose !== undefined && workspace !== null && this.#retirement.isLeftOut(workspace);
  }

  /** The name that hides this label set of a family; null: it is, or must be, shown. `shown`: what is, where that is known. */
  hides(
    family: Pick<Family, "whose">,
    labels: LabelValues,
    shown: TableBuilder | undefined,
  ): string | null {
    // What is shown is not retired: whoever retires it takes it out.
    if (!family.whose || shown?.has(labels)) return null;
    const name = nameIn(family, labels);
    return name !== null && this.#retirement.isRetired(name) ? name : null;
  }

  /** The numbers of this label set, for writing, where it is hidden. */
  find(builder: TableBuilder, labels: LabelValues): Float64Array | null {
    const { family } = builder;
    const name = this.hides(family, labels, builder);
    if (name === null) return null;
    const key = { family: family.name, name, labels: JSON.stringify(labels) };
    const written = `${key.family} ${key.labels}`;
    let series = this.#written.get(written);
    if (!series) {
      const values = this.#retirement.numbersOf(key) ?? new Float64Array(widthOf(family));
      this.#written.set(written, (series = { ...key, values }));
    }
    return series.values;
  }

  /** What was written, which the store keeps from here on. */
  take(): readonly HiddenSeries[] {
    const all = [...this.#written.values()];
    this.#written.clear();
    return all;
  }
}
