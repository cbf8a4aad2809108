// The alerts ask for what there is, each has a history in which it fires, and a section that says what to do. Whether they do fire:
// alerts.e2e.test.ts.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { must } from "../../src/errors.ts";
import { fullName } from "../../src/metrics/family.ts";
import { Fold } from "../../src/metrics/fold.ts";
import { ALERTS, alertRules } from "../support/alerts.ts";
import { anchorsOf } from "../support/docs.ts";
import { CATALOG } from "../support/folding.ts";
import { attempted } from "../support/rows.ts";
import { serving } from "../support/serving.ts";

const text = readFileSync(ALERTS, "utf8");
const rules = alertRules(text);
const names = new Set(rules.map(({ alert }) => alert));
const operations = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");

const histories = z
  .object({
    tests: z.array(
      z.object({
        input_series: z.array(z.object({ series: z.string() })),
        promql_expr_test: z.array(
          z.object({ exp_samples: z.array(z.object({ labels: z.string() })) }),
        ),
      }),
    ),
  })
  .parse(
    parse(readFileSync(new URL("alerts.test.yml", import.meta.url), "utf8"), { merge: true }),
  ).tests;

const TARGET = ["instance", "job"];

/** Label names of every series that there can be, by its name. */
async function exported(): Promise<Map<string, readonly string[]>> {
  const found = new Map<string, readonly string[]>();
  for (const family of CATALOG) {
    const name = fullName(family, "coderd_");
    const counted = family.type === "histogram" ? `${name}_count` : name;
    found.set(counted, [...family.labels].sort());
  }
  for (const line of (await fullPage()).split("\n")) {
    const [, name, labels = ""] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
    if (name === undefined || found.has(name)) continue;
    found.set(name, [...labels.matchAll(/(\w+)="/g)].map(([, label = ""]) => label).sort());
  }
  return found;
}

/** What /metrics and /metrics/process show when there is something to say of everything. */
async function fullPage(): Promise<string> {
  const fold = new Fold(CATALOG, 100);
  fold.add(attempted());
  await using server = await serving(fold.publish());
  const { vitals } = server;
  vitals.slot = {
    active: true,
    confirmed: 1n as never,
    retainedBytes: 1,
    safeBytes: 1,
    walStatus: "reserved",
    catalogXminAge: 1,
  };
  vitals.count(vitals.gaps, "slot_missing");
  vitals.count(vitals.unknownValues, "workspace_builds.reason");
  vitals.baseline = { builds: 1, agents: 1 };
  vitals.verified = { drift: { missing: 0, extra: 0, revised: 0, vanished: 0 }, at: 1 };
  vitals.eventDelay.observe(1);
  vitals.storeCommit.observe(1);
  const pages = [await server.get("/metrics"), await server.get("/metrics/process")];
  return pages.map(({ body }) => body).join("\n");
}

test("alerts, and the histories that they are tested with, name what /metrics shows", async () => {
  const there = await exported();
  for (const { alert, expr } of rules) {
    for (const [name = ""] of expr.matchAll(/\b(?:coderd|firstlight|process)_\w+/g))
      expect([...there.keys()], alert).toContain(name);
  }
  for (const { series } of histories.flatMap(({ input_series }) => input_series)) {
    const [, name = "", selector = ""] = must(/^(\w+)\{(.*)\}$/.exec(series), series);
    if (name === "up" || selector.includes('job="coderd"')) continue;
    const labels = [...selector.matchAll(/(\w+)="/g)].map(([, label = ""]) => label);
    const wanted = [...must(there.get(name), series), ...TARGET].sort();
    // Of the large families it is enough to name some labels.
    if (name.startsWith("coderd_agents")) expect(wanted).toEqual(expect.arrayContaining(labels));
    else expect(labels.sort(), series).toEqual(wanted);
  }
});

test("every all-time total is watched for a fall, and nothing that may fall", () => {
  const totals = CATALOG.filter(
    (family) => family.type !== "gauge" && family.hiddenIn === undefined,
  ).map((family) => [fullName(family, "coderd_"), family.type === "histogram" ? "_count" : ""]);
  const watched = rules.filter(({ alert }) => alert === "FirstlightTotalFell");
  expect(watched.map(({ labels }) => labels["family"])).toEqual(totals.map(([name]) => name));
  for (const [index, { expr }] of watched.entries())
    expect(expr).toContain(`(resets(${totals[index]?.join("")}{job="firstlight"}[1h]))`);
});

test("each alert says how bad it is, what to do, and where the rest is written; no section is about another one", () => {
  const anchors = anchorsOf(operations);
  for (const { alert, labels, annotations } of rules) {
    expect(["critical", "warning", "info"], alert).toContain(labels["severity"]);
    expect(annotations.summary, alert).toBeTruthy();
    expect(annotations.description.length, alert).toBeGreaterThan(80);
    expect(annotations.runbook_url).toBe(`docs/operations.md#${alert.toLowerCase()}`);
    expect(anchors, alert).toContain(alert.toLowerCase());
  }
  const sections = [...operations.matchAll(/^### (Firstlight[A-Z]\w+)$/gm)].map(([, name]) => name);
  expect(new Set(sections)).toEqual(names);
  expect(sections).toHaveLength(names.size);
});

test("for each alert there is a history in which it fires, and for all of them one in which they do not", () => {
  const expected = histories.flatMap(({ promql_expr_test }) =>
    promql_expr_test.flatMap(({ exp_samples }) => exp_samples.map(({ labels }) => labels)),
  );
  const fire = expected.map((labels) => /alertname="(\w+)"/.exec(labels)?.[1]);
  expect(new Set(fire)).toEqual(names);
  const [well] = histories;
  expect(well?.promql_expr_test.flatMap(({ exp_samples }) => exp_samples)).toEqual([]);
});

test("what the file says of another job, prefix and address works", () => {
  const parts = [...text.slice(0, text.indexOf("groups:")).matchAll(/-e '(.+?)'/g)];
  expect(parts).toHaveLength(3);
  const args = parts.flatMap(([, part = ""]) => ["-e", part]);
  const changed = spawnSync("sed", args, { input: text, encoding: "utf8" }).stdout;
  const all = alertRules(changed);
  expect(all).toHaveLength(rules.length);
  for (const { expr, annotations } of all) {
    expect(expr).not.toMatch(/coderd_|"firstlight"/);
    expect(annotations.runbook_url).toMatch(/^https:\/\/git\.example\.com\/.*operations\.md#\w+$/);
  }
});
