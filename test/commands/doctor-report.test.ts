// What doctor prints, the names that coderd exports, too, and its estimate: pure.

import { describe, expect, test } from "vitest";
import { estimate, estimateText } from "../../src/commands/doctor/estimate.ts";
import { exportedSince, familiesNote } from "../../src/commands/doctor/families.ts";
import { isFinding, reportJson, reportText } from "../../src/commands/doctor/report.ts";
import { seriesOf } from "../../src/commands/doctor/series.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { AGENT_LABELS, type AgentLabel } from "../../src/metrics/families/agents.ts";
import { type Diagnosis, bytesText, spanText } from "../../src/postgres/doctor/diagnosis.ts";

const EVERYTHING = { agentLabels: AGENT_LABELS, families: undefined };
const CATALOG = createCatalog(EVERYTHING);

describe("families", () => {
  const config = {
    agentLabels: AGENT_LABELS,
    families: CATALOG.map(({ name }) => name),
    metricPrefix: "coderd_",
  };

  test("that coderd exports are told by what the catalog says of upstream", () => {
    const said = CATALOG.filter(({ upstream }) => upstream?.startsWith("coderd"));
    expect(said.length).toBeGreaterThan(10);
    for (const family of said) expect(exportedSince(family), family.name).not.toBeNull();
    for (const family of CATALOG.filter(({ upstream }) => !upstream?.startsWith("coderd")))
      expect(exportedSince(family), family.name).toBeNull();
  });

  test("are dropped on coderd's side by the rule that is given, histograms with all their lines", () => {
    const [note] = familiesNote(config);
    expect(note?.problem).toContain("coderd_workspace_creation_total (from 2.27 on)");
    expect(note?.problem).not.toContain("attempts");
    const [, regex = ""] = /regex: (.*)/.exec(note?.fix ?? "") ?? [];
    const dropped = new RegExp(`^(?:${regex})$`);
    for (const name of [
      "coderd_workspace_creation_total",
      "coderd_agents_first_connection_seconds_bucket",
      "coderd_provisionerd_job_timings_seconds_sum",
    ])
      expect(name).toMatch(dropped);
    for (const name of [
      "coderd_workspace_creation_attempts_total",
      "coderd_api_requests_processed_total",
    ])
      expect(name).not.toMatch(dropped);
  });

  test("with another prefix are nobody else's", () => {
    expect(familiesNote({ ...config, metricPrefix: "exact_" })).toEqual([]);
  });
});

describe("the estimate", () => {
  const deployment = { templates: 10, versions: 100, presets: 5, workspaces: 1_000 };
  const series = (name: string, labels: readonly AgentLabel[] = AGENT_LABELS): number | null => {
    const family = createCatalog({ ...EVERYTHING, agentLabels: labels }).find(
      (each) => each.name === name,
    );
    return family === undefined ? null : seriesOf(family, deployment);
  };

  test("knows every family", () => {
    for (const family of CATALOG) expect(seriesOf(family, deployment), family.name).not.toBeNull();
  });

  test("follows the rules of docs/metrics.md", () => {
    expect(series("workspace_creation_attempts_total")).toBe(15);
    expect(series("workspace_creation_duration_seconds")).toBe(11 * 20);
    expect(series("workspace_builds_total")).toBe(8_000);
    expect(series("agents_first_connection_seconds")).toBe(12_000);
    expect(series("agents_first_connection_seconds", ["template_name", "agent_name"])).toBe(120);
    expect(series("time_to_first_light_seconds")).toBe(4 * 13 * 30);
  });

  const rows = {
    organizations: 1,
    provisioner_jobs: 30_000,
    template_version_presets: 50,
    template_versions: 100,
    templates: 10,
    workspace_agents: 10_000,
    workspace_builds: 20_000,
    workspaces: 2_000,
  };
  const pace = { walLevel: "replica", wal: 1_000, updates: 100, seconds: 10 };
  const measured = {
    rows,
    deleted: 0.5,
    pace,
    polling: { kind: "unknown", why: "because" },
  } as const;
  const config = {
    agentLabels: AGENT_LABELS,
    families: ["workspace_creation_attempts_total", "agents_up"],
    metricPrefix: "x_",
  };

  test("counts presets once for each name, workspaces that are there, and WAL as it would be at logical", () => {
    const result = estimate(measured, config);
    expect(result.series.map(({ family, series: n }) => [family, n])).toEqual([
      ["x_workspace_creation_attempts_total", 15],
      ["x_agents_up", 1_000],
      ["firstlight_dropped_samples_total", 2],
    ]);
    expect(result.totalSeries).toBe(1_017);
    expect(result.baseline).toEqual({ rows: 30_000, seconds: expect.closeTo(2.4) });
    expect(result.wal.bytesPerDay).toBe((1_000 + 100 * 394) * 86_400);
    const logical = estimate({ ...measured, pace: { ...pace, walLevel: "logical" } }, config);
    expect(logical.wal.bytesPerDay).toBe(1_000 * 86_400);
    const text = estimateText(result);
    expect(text).toContain("series: about 1,017\n");
    expect(text).toContain("about 3.3 GB a day");
    expect(text).toContain("what polling costs today: not known, because\n");
  });

  test("without Coder's tables says so", () => {
    const none = Object.fromEntries(
      Object.keys(rows).map((table) => [table, null]),
    ) as unknown as typeof rows;
    const text = estimateText(estimate({ ...measured, rows: none }, config));
    expect(text).toContain("baseline: not known");
  });
});

const found = (severity: Diagnosis["severity"], fix = "fix it;"): Diagnosis => ({
  check: "c",
  severity,
  problem: "p",
  fix,
});

describe("what is printed", () => {
  test("problems first, each with its fix to paste, then what was seen and how many", () => {
    const report = {
      findings: [found("note"), found("risk", "one;\ntwo;"), found("problem")],
      about: ["seen"],
    };
    expect(reportText(report)).toBe(
      "problem c: p\n    fix it;\n\nrisk c: p\n    one;\n    two;\n\nnote c: p\n    fix it;\n\nseen\n1 problem, 1 risk, 1 note\n",
    );
    expect(JSON.parse(reportJson(report))).toEqual(report);
    expect(report.findings.filter(isFinding)).toHaveLength(2);
  });

  test.each([
    [bytesText(0), "0 B"],
    [bytesText(1_536), "1.5 kB"],
    [bytesText(300 * 2 ** 20), "300 MB"],
    [spanText(59), "about 59 seconds"],
    [spanText(7_200), "about 2 hours"],
    [spanText(86_400 * 30), "about 30 days"],
    [spanText(Number.POSITIVE_INFINITY), "never"],
  ])("%s", (text, expected) => {
    expect(text).toBe(expected);
  });
});
