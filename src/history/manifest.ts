// What was written, as JSON beside it: enough to check the files, and what a database has made of them.

import { type Micros, formatIso } from "../change/micros.ts";
import { fullName } from "../metrics/family.ts";
import type { Curve } from "./curves.ts";
import { type Naming, numbersOf, seriesOf } from "./lines.ts";
import type { FormatName } from "./formats.ts";
import type { Window } from "./window.ts";

/** Where the facts came from. No time of day: the same input is the same bytes. */
export interface Source {
  /** `store`, `tables`, or `slot`. */
  readonly from: string;
  /** System identifier of the Postgres system. */
  readonly system: string;
  /** Everything up to this LSN is counted. */
  readonly lsn: string;
}

export interface WrittenFile {
  readonly name: string;
  readonly samples: number;
  readonly bytes: number;
  readonly sha256: string;
  /** Times of its first and its last sample. */
  readonly first: Micros;
  readonly last: Micros;
}

export interface Described {
  readonly source: Source;
  readonly format: FormatName;
  readonly naming: Naming;
  readonly window: Window;
  readonly stepSeconds: number;
  readonly blockHours: number;
  readonly files: readonly WrittenFile[];
}

/** Series by series at its end, so that it may have any number of them. The curves must have advanced to the window's end. */
export function* manifest(described: Described, curves: readonly Curve[]): Generator<string> {
  const { source, format, naming, window, stepSeconds, blockHours, files } = described;
  const head = {
    version: 1,
    source,
    format,
    since: formatIso(window.first * window.tick),
    until: formatIso(window.last * window.tick),
    step_seconds: stepSeconds,
    block_hours: blockHours,
    labels: Object.fromEntries(naming.labels),
    families: [...new Set(curves.map(({ family }) => fullName(family, naming.prefix)))],
    samples: files.reduce((sum, { samples }) => sum + samples, 0),
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    files: files.map(({ first, last, ...file }) => ({
      ...file,
      first: formatIso(first),
      last: formatIso(last),
    })),
  };
  yield `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "last_values": {`;
  let between = "\n";
  for (const curve of curves) {
    const numbers = numbersOf(curve);
    const lines = seriesOf(curve, naming).map(
      (series, index) => `    ${JSON.stringify(series)}: ${numbers[index]}`,
    );
    yield between + lines.join(",\n");
    between = ",\n";
  }
  yield "\n  }\n}\n";
}
