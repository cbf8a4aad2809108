// A scrape, parsed: series by their text, and the questions tests ask of one.

export interface Scrape {
  /** `name{labels}` → value, exactly as exposed. */
  readonly series: ReadonlyMap<string, number>;
  /** Whether the all-time families are there. */
  readonly hasTotals: boolean;
  readonly text: string;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?) (\S+)$/;

export function parseScrape(text: string): Scrape {
  const series = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (match?.[1] !== undefined)
      series.set(match[1], Number(match[2]?.replace("Inf", "Infinity")));
  }
  return {
    series,
    hasTotals: text.includes("\n# TYPE coderd_workspace_creation_attempts_total "),
    text,
  };
}

/** The value of a series without labels, or with exactly this label text. Throws when it is absent. */
export function valueOf(scrape: Scrape, series: string): number {
  const value = scrape.series.get(series);
  if (value === undefined) throw new Error(`no series ${series}`);
  return value;
}

/** Values of one metric by the JSON of its label values, in the order in which they are exposed. */
export function byLabels(scrape: Scrape, metric: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [name, value] of scrape.series) {
    if (!name.startsWith(`${metric}{`)) continue;
    found.set(JSON.stringify(labelValues(name.slice(metric.length + 1, -1))), value);
  }
  return found;
}

/** Sum over all series of one metric. */
export function sumOf(scrape: Scrape, metric: string): number {
  return [...byLabels(scrape, metric).values()].reduce((sum, value) => sum + value, 0);
}

function labelValues(text: string): string[] {
  return [...text.matchAll(/[a-z_]+="((?:[^"\\]|\\.)*)"/g)].map(([, value = ""]) =>
    value.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped)),
  );
}

/**
 * What may never happen between two scrapes of the same deployment that carry totals: an all-time series that falls, or
 * that was shown and is gone. Gauges are left out.
 */
export function regressions(before: Scrape, after: Scrape): string[] {
  const found: string[] = [];
  for (const [name, value] of before.series) {
    if (
      !/^(coderd_.*(_total|_bucket|_sum|_count)|firstlight_dropped_samples_total|firstlight_time_to_first_light_seconds_(bucket|sum|count))\{/.test(
        name,
      )
    )
      continue;
    const now = after.series.get(name);
    if (now === undefined) found.push(`${name} is gone`);
    else if (now < value) found.push(`${name} fell from ${value} to ${now}`);
  }
  return found;
}

/** Label sets for which attempts ≠ success + failure + canceled + in flight. Must be none in every scrape with totals. */
export function unbalanced(scrape: Scrape): string[] {
  const outcomes = new Map<string, number>();
  for (const [key, value] of byLabels(scrape, "coderd_workspace_creation_outcomes_total")) {
    const labels = JSON.stringify((JSON.parse(key) as string[]).slice(0, 3));
    outcomes.set(labels, (outcomes.get(labels) ?? 0) + value);
  }
  const inFlight = byLabels(scrape, "coderd_workspace_creations_in_flight");
  return [...byLabels(scrape, "coderd_workspace_creation_attempts_total")]
    .filter(
      ([labels, attempts]) =>
        attempts !== (outcomes.get(labels) ?? 0) + (inFlight.get(labels) ?? 0),
    )
    .map(([labels]) => labels);
}
