// The one prom-client registry in which families and health metrics stand, and its rendering.
//
// The registry keeps names unique and lets any prom-client tool read us. `/metrics` renders the families from their pages
// instead (see exposition.ts): through the registry, 100,000 histograms block the process for seconds.

import { Registry, collectDefaultMetrics } from "prom-client";
import { SECOND } from "../change/micros.ts";
import { type Family, fullName } from "./family.ts";
import { renderBound, renderHeader, renderNumber } from "./exposition.ts";
import { HEALTH, type Value, valuesOf } from "./health.ts";
import {
  COUNT,
  FIRST_BUCKET,
  PAGE_SIZE,
  SUM,
  type Table,
  type Totals,
  renderLabels,
} from "./pages.ts";
import type { Vitals } from "./vitals.ts";

/** What prom-client's registry needs of a metric, and all that we use of it. */
interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  get(): Promise<{ values: readonly Value[] }> | { values: readonly Value[] };
}

export const SERIES_HELP = "Series shown, by family.";
export const ROOM_HELP =
  "Label sets that a family can still take (--series-limit); at 0 new ones are counted in one series, __other__. Absent for a family without a limit.";

export interface MetricsOptions {
  readonly vitals: Vitals;
  readonly catalog: readonly Family[];
  readonly prefix: string;
  /** What may be shown now; null before the first check. */
  readonly totals: () => Totals | null;
  readonly version: string;
}

/** The registry of `/metrics`. */
export function createRegistry(options: MetricsOptions): Registry {
  const { vitals, version, totals, prefix } = options;
  const registry = new Registry();
  const register = (entry: object): void => registry.registerMetric(entry as never);
  const info = [{ value: 1, labels: { version } }];
  register(metric("firstlight_build_info", "gauge", "The version that runs.", () => info));
  for (const [name, type, help, read] of HEALTH) {
    register(metric(`firstlight_${name}`, type, help, () => valuesOf(read(vitals))));
  }
  const byFamily = (read: (table: Table) => number) => (): Value[] =>
    (totals()?.tables ?? [])
      .map((table) => ({ value: read(table), labels: { family: fullName(table.family, prefix) } }))
      .filter(({ value }) => Number.isFinite(value));
  register(
    metric(
      "firstlight_series",
      "gauge",
      SERIES_HELP,
      byFamily(({ series }) => series),
    ),
  );
  register(metric("firstlight_series_room", "gauge", ROOM_HELP, byFamily(roomOf)));
  register(vitals.eventDelay);
  register(vitals.storeCommit);
  for (const family of options.catalog) {
    const name = fullName(family, prefix);
    const table = (): Table | undefined =>
      totals()?.tables.find((candidate) => candidate.family === family);
    register(metric(name, family.type, family.help, () => tableValues(name, table())));
  }
  return registry;
}

const roomOf = ({ own, limit }: Table): number => Math.max(0, limit - own);

/** The registry of `/metrics/process`: apart, because collectors may take its start time for that of every counter beside it. */
export function createProcessRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

/** The text of a registry's metrics, leaving out those named. All of them are read in the course of the call, before it returns. */
export async function renderRegistry(
  registry: Registry,
  except: ReadonlySet<string> = new Set(),
): Promise<string> {
  const readings = (registry.getMetricsAsArray() as unknown as Metric[])
    .filter(({ name }) => !except.has(name))
    .map(reading);
  let text = "";
  for (const { name, help, type, values } of await Promise.all(readings)) {
    if (values.length === 0) continue;
    // prom-client has gauges named like counters; promtool is right to complain, so they are said to be untyped.
    const told = type === "gauge" && name.endsWith("_total") ? "untyped" : type;
    text +=
      renderHeader(name, { help, type: told }) +
      values.map((value) => renderValue(name, value)).join("");
  }
  return text;
}

async function reading(from: Metric): Promise<Omit<Metric, "get"> & { values: readonly Value[] }> {
  const { name, help, type } = from;
  return { name, help, type, values: (await from.get()).values };
}

function metric(name: string, type: string, help: string, read: () => readonly Value[]): Metric {
  return { name, help, type, get: () => ({ name, help, type, values: read(), aggregator: "sum" }) };
}

function renderValue(name: string, { value, labels, metricName = name }: Value): string {
  const names = Object.keys(labels);
  const texts = Object.values(labels).map((label) =>
    typeof label === "number" ? renderBound(label) : label,
  );
  return `${metricName}${names.length > 0 ? `{${renderLabels(names, texts)}}` : ""} ${renderNumber(value)}\n`;
}

function tableValues(name: string, table: Table | undefined): readonly Value[] {
  if (!table) return [];
  return table.keys.slice(0, table.size).flatMap((key, ordinal) => {
    const texts = JSON.parse(key) as string[];
    const labels = Object.fromEntries(
      table.family.labels.map((label, i) => [label, texts[i] ?? ""]),
    );
    const page = table.pages[Math.floor(ordinal / PAGE_SIZE)] ?? new Float64Array(0);
    const start = (ordinal % PAGE_SIZE) * table.width;
    return seriesValues(name, table.family, {
      labels,
      numbers: page.subarray(start, start + table.width),
    });
  });
}

function seriesValues(
  name: string,
  family: Family,
  { labels, numbers }: { labels: Record<string, string>; numbers: Float64Array },
): Value[] {
  const at = (index: number): number => numbers[index] ?? 0;
  if (family.type === "gauge") {
    const unit = family.value === "oldest" ? SECOND : 1;
    return Number.isNaN(at(0)) ? [] : [{ value: at(0) / unit, labels }];
  }
  // A place that is free.
  if (Number.isNaN(at(0))) return [];
  if (family.type !== "histogram") return [{ value: at(0), labels }];
  let below = 0;
  const bucket = (le: string | number, value: number): Value => ({
    value,
    labels: { ...labels, le },
    metricName: `${name}_bucket`,
  });
  const buckets = family.buckets.map((le, i) => bucket(le, (below += at(FIRST_BUCKET + i))));
  return [
    ...buckets,
    bucket("+Inf", at(COUNT)),
    { value: at(SUM) / SECOND, labels, metricName: `${name}_sum` },
    { value: at(COUNT), labels, metricName: `${name}_count` },
  ];
}
