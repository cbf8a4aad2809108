// What a scraper reads from /metrics: as much as the proof needs.

import type { ByTemplate } from "./polled.ts";

const LABEL = /template_name="((?:[^"\\]|\\.)*)"/;

/** A counter's values summed by template; null: the page has no totals. */
export function byTemplate(page: string, counter: string): ByTemplate | null {
  if (!page.includes(`\n# TYPE ${counter} `)) return null;
  const values = new Map<string, number>();
  for (const line of page.split("\n")) {
    if (!line.startsWith(`${counter}{`)) continue;
    const name = (LABEL.exec(line)?.[1] ?? "").replaceAll(/\\(.)/g, "$1");
    const value = Number(line.slice(line.lastIndexOf(" ") + 1));
    values.set(name, (values.get(name) ?? 0) + value);
  }
  return values;
}

/** Series of counters that are lower than before, or gone. */
export function falls(before: ReadonlyMap<string, number>, after: string): readonly string[] {
  const now = counters(after);
  return [...before].flatMap(([series, value]) => {
    const is = now.get(series);
    return is === undefined || is < value ? [`${series} ${value} → ${is ?? "gone"}`] : [];
  });
}

/** Every series of Coder's counters and histograms. */
export function counters(page: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const line of page.split("\n")) {
    if (!/^coderd_\w+_(total|count|sum|bucket)\{/.test(line)) continue;
    const at = line.lastIndexOf(" ");
    found.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return found;
}
