// What a section of the benchmark is: it measures one thing on servers of its own and returns figures, which main.ts puts
// into the report. A section file exports exactly one `Section`.

export interface Table {
  readonly caption: string;
  readonly head: readonly string[];
  /** Raw numbers; the report rounds them. */
  readonly rows: readonly (readonly (string | number)[])[];
}

/** A ratio that the project promises; `limit` is what it must not exceed (or, with atLeast, not fall below). */
export interface Check {
  readonly claim: string;
  readonly value: number;
  readonly limit: number;
  readonly atLeast?: boolean;
}

export interface SectionReport {
  readonly title: string;
  /** What the figures are and how they were measured. */
  readonly about: string;
  readonly tables: readonly Table[];
  readonly checks: readonly Check[];
  readonly notes: readonly string[];
}

export interface BenchOptions {
  /** Small sizes and loose limits, at most 20 s a section. */
  readonly smoke: boolean;
  /** Interleaved pairs per promised ratio. */
  readonly pairs: number;
  /** What the size flags gave, by flag name (`rates`, `builds`, …); a section has its own defaults, for smoke too. */
  readonly sizes: Readonly<Record<string, readonly number[]>>;
  /** Takes a line of progress, for people. */
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface Section {
  readonly name: string;
  run(options: BenchOptions): Promise<SectionReport>;
}

/** A figure that could not be had (NaN) holds nothing. */
export function holds({ value, limit, atLeast = false }: Check): boolean {
  return atLeast ? value >= limit : value <= limit;
}
