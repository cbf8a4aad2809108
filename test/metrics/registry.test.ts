import { expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import { toLsn } from "../../src/lsn.ts";
import { fullName } from "../../src/metrics/family.ts";
import { Fold } from "../../src/metrics/fold.ts";
import { NO_RETIREMENT } from "../../src/metrics/hiding.ts";
import type { Totals } from "../../src/metrics/pages.ts";
import {
  createProcessRegistry,
  createRegistry,
  renderRegistry,
} from "../../src/metrics/registry.ts";
import { Vitals } from "../../src/metrics/vitals.ts";
import { CATALOG, OFFERED, foldOf, page } from "../support/folding.ts";
import {
  AGENT_NAMES,
  WORKSPACE,
  attempted,
  connected,
  ended,
  liveWorkspace,
  pendingBuild,
} from "../support/rows.ts";

const FAMILIES = new Set(CATALOG.map((family) => fullName(family, "coderd_")));

function setup(totals: Totals | null = null, prefix = "coderd_") {
  const vitals = new Vitals();
  const options = { vitals, catalog: CATALOG, prefix, totals: () => totals, version: "1.2.3" };
  const registry = createRegistry(options);
  return { vitals, registry, health: () => renderRegistry(registry, FAMILIES) };
}

const metricNames = (text: string): string[] =>
  [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name);

test("every name is unique, with whatever prefix", () => {
  for (const prefix of ["coderd_", "", "firstlight_", "acme_coder_"]) {
    const names = setup(null, prefix)
      .registry.getMetricsAsArray()
      .map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  }
});

test("two metrics of one name are refused, not shown twice", () => {
  const { registry } = setup();
  expect(() => registry.registerMetric({ name: "firstlight_ready" } as never)).toThrow(/already/);
});

test("names follow the conventions: seconds and bytes as units, _total for counters only", () => {
  for (const { name, type } of setup().registry.getMetricsAsArray() as unknown as {
    name: string;
    type: string;
  }[]) {
    expect(name).toMatch(/^(coderd|firstlight)_[a-z0-9_]+$/);
    expect(name.endsWith("_total"), name).toBe(type === "counter");
  }
});

const isRetired = (name: string): boolean => name === '["alice","gone"]';

test("any prom-client tool reads the families through the registry, as the page shows them", async () => {
  const fold = new Fold(CATALOG, undefined, { ...NO_RETIREMENT, isRetired });
  const gone = { ...WORKSPACE, name: "gone" };
  for (const fact of [
    OFFERED,
    attempted(),
    ended({ took: 1 }),
    ended({ took: 1, workspace: gone }),
    connected(),
    connected({ names: { ...AGENT_NAMES, workspace: "gone" }, workspace: gone }),
  ])
    fold.add(fact);
  for (const entity of [pendingBuild(), liveWorkspace({ agents: 1 })]) fold.put(entity);
  const totals = fold.publish();
  const { registry } = setup(totals);
  expect(await renderRegistry(registry, new Set(healthNames(registry)))).toBe(
    page(totals, "coderd_"),
  );

  const metrics = await registry.getMetricsAsJSON();
  const histogram = metrics.find(({ name }) => name === "coderd_agents_first_connection_seconds");
  expect(histogram).toMatchObject({ type: "histogram" });
  expect(histogram?.values).toHaveLength(9 + 3);
  expect(histogram?.values).toContainEqual({
    metricName: "coderd_agents_first_connection_seconds_sum",
    value: 41.2,
    labels: expect.objectContaining({ workspace_name: "dev" }),
  });
});

const healthNames = (registry: ReturnType<typeof createRegistry>): string[] =>
  registry.getMetricsAsArray().flatMap(({ name }) => (FAMILIES.has(name) ? [] : [name]));

test("what is not known yet is absent, not zero", async () => {
  const { health } = setup();
  const text = await health();
  const names = metricNames(text);
  for (const unknown of [
    "received_lsn_bytes",
    "durable_lsn_bytes",
    "confirmed_lsn_bytes",
    "slot_active",
    "slot_retained_bytes",
    "slot_safe_wal_bytes",
    "slot_wal_status",
    "slot_catalog_xmin_age",
    "last_message_timestamp_seconds",
    "last_commit_timestamp_seconds",
    "baseline_rows",
    "series",
    "series_room",
  ])
    expect(names).not.toContain(`firstlight_${unknown}`);
  expect(text).toContain('firstlight_build_info{version="1.2.3"} 1\n');
  expect(text).toContain("firstlight_ready 0\n");
  expect(text).toContain("firstlight_catching_up 1\n");
  expect(text).toContain('firstlight_changes_total{table="workspace_agents",op="update"} 0\n');
});

test("what is known is shown in bytes, seconds and states", async () => {
  const { vitals, health } = setup(foldOf([attempted()]).publish());
  vitals.ready = true;
  vitals.received = toLsn(0x16_b374d848n);
  vitals.lastCommitAt = 1_787_306_400.5 * SECOND;
  vitals.slot = {
    active: true,
    confirmed: toLsn(1n << 33n),
    retainedBytes: 4_096,
    safeBytes: null,
    walStatus: "extended",
    catalogXminAge: 12,
  };
  vitals.count(vitals.gaps, "slot_missing");
  vitals.baseline = { builds: 12, agents: 3 };
  const text = await health();
  expect(text).toContain("firstlight_ready 1\n");
  expect(text).toContain(`firstlight_received_lsn_bytes ${0x16_b374d848}\n`);
  expect(text).toContain("firstlight_confirmed_lsn_bytes 8589934592\n");
  expect(text).toContain("firstlight_last_commit_timestamp_seconds 1787306400.5\n");
  expect(text).toContain('firstlight_slot_wal_status{state="extended"} 1\n');
  expect(text).toContain('firstlight_slot_wal_status{state="lost"} 0\n');
  expect(text).not.toContain("slot_safe_wal_bytes");
  expect(text).toContain('firstlight_gaps_total{reason="slot_missing"} 1\n');
  expect(text).toContain('firstlight_baseline_rows{table="workspace_builds"} 12\n');
  expect(text).toContain('firstlight_baseline_rows{table="workspace_agents"} 3\n');
  expect(text).toContain(
    'firstlight_series{family="coderd_workspace_creation_outcomes_total"} 3\n',
  );
});

const room = (name: string): string => `firstlight_series_room{family="coderd_${name}"}`;

test("how many label sets a family can still take is shown where there is a limit", async () => {
  const fold = new Fold(CATALOG, 3);
  fold.add(attempted());
  const text = await setup(fold.publish()).health();
  expect(text).toContain(`${room("workspace_creation_attempts_total")} 2\n`);
  expect(text).toContain(`${room("workspace_creation_outcomes_total")} 0\n`);
  expect(text).not.toContain(room("workspace_builds_enqueued_total"));
  expect(await setup(foldOf([attempted()]).publish()).health()).not.toContain("series_room");
});

test("all is read in the course of the call: what happens while the text is made is not in it", async () => {
  const { vitals, health } = setup(foldOf([attempted()]).publish());
  vitals.applied = toLsn(1_000n);
  const text = health();
  vitals.applied = toLsn(2_000n);
  vitals.reconnects = 7;
  vitals.eventDelay.observe(0.3);
  expect(await text).toContain("firstlight_applied_lsn_bytes 1000\n");
  expect(await text).toContain("firstlight_reconnects_total 0\n");
  expect(await text).toContain("firstlight_event_delay_seconds_count 0\n");
});

test("histograms of prom-client spell their bounds like ours", async () => {
  const { vitals, health } = setup();
  vitals.eventDelay.observe(0.3);
  const text = await health();
  expect(text).toContain('firstlight_event_delay_seconds_bucket{le="0.25"} 0\n');
  expect(text).toContain('firstlight_event_delay_seconds_bucket{le="1.0"} 1\n');
  expect(text).toContain('firstlight_event_delay_seconds_bucket{le="+Inf"} 1\n');
  expect(text).toContain("firstlight_event_delay_seconds_sum 0.3\n");
});

test("process metrics stand apart, with none of ours", async () => {
  const text = await renderRegistry(createProcessRegistry());
  expect(metricNames(text)).toContain("process_resident_memory_bytes");
  expect(metricNames(text)).toContain("nodejs_eventloop_lag_seconds");
  expect(text).not.toMatch(/firstlight|coderd/);
  expect(text, "a gauge with a counter's name is untyped").not.toMatch(/^# TYPE \S+_total gauge$/m);
});
