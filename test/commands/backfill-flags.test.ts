// The flags of `backfill`: values, and all mistakes at once.

import { expect, test } from "vitest";
import { SECOND, parseTimestamptz } from "../../src/change/micros.ts";
import { type BackfillFlags, parseBackfill } from "../../src/commands/backfill/flags.ts";
import { OWN_VARIABLES, withVariables } from "../../src/commands/flags.ts";
import { type RawFlags, UsageError } from "../../src/config.ts";

const NOW = parseTimestamptz("2026-11-26 10:00:00+00");
const HOUR = 3_600 * SECOND;

const parse = (raw: RawFlags = {}, env: Record<string, string> = {}): BackfillFlags => {
  const given = withVariables("backfill", raw, env);
  return parseBackfill(given, { env, beside: OWN_VARIABLES, readFile: () => "", now: NOW }).flags;
};

function mistakes(raw: RawFlags, env: Record<string, string> = {}): readonly string[] {
  try {
    parse(raw, env);
    return [];
  } catch (error) {
    if (error instanceof UsageError) return error.mistakes;
    throw error;
  }
}

test("nothing needs to be given, not even a database", () => {
  expect(parse()).toEqual({
    from: { kind: "store" },
    out: "./backfill",
    since: null,
    until: null,
    step: null,
    maxSamples: 100_000_000,
    format: "openmetrics",
    labels: [],
    named: new Set(["default"]),
  });
});

test("values", () => {
  const raw = {
    from: ["store"],
    out: "/tmp/x",
    since: "2026-08-21",
    until: "90m",
    step: "5m",
    maxSamples: "7",
    format: "victoriametrics",
    label: ["job=firstlight", "instance=a=b"],
    families: "default, workspace_builds_total",
  };
  expect(parse(raw)).toEqual({
    from: { kind: "store" },
    out: "/tmp/x",
    since: parseTimestamptz("2026-08-21 00:00:00+00"),
    until: NOW - 1.5 * HOUR,
    step: 300 * SECOND,
    maxSamples: 7,
    format: "victoriametrics",
    labels: [
      ["instance", "a=b"],
      ["job", "firstlight"],
    ],
    named: new Set(["default", "workspace_builds_total"]),
  });
});

test("families are named by the variable, too, unless the flag says otherwise", () => {
  const env = { FIRSTLIGHT_FAMILIES: "all" };
  expect(parse({}, env).named).toEqual(new Set(["all"]));
  expect(parse({ families: "default" }, env).named).toEqual(new Set(["default"]));
});

test("all mistakes are told at once, those of the shared settings too", () => {
  const raw = {
    from: ["disk"],
    out: "",
    since: "yesterday",
    until: "2026-13-01",
    step: "1w",
    maxSamples: "0",
    format: "json",
    label: ["job", "__name__=x", "1x=y", "a=b", "a=c"],
    metricPrefix: "1x",
  };
  expect(mistakes(raw)).toEqual([
    expect.stringMatching(/^--metric-prefix "1x": must be/),
    '--from "disk": must be store, tables, or slot and the name of one',
    '--out "": must be the path of a folder',
    expect.stringMatching(/^--since "yesterday": must be a time with its zone/),
    expect.stringMatching(/^--until "2026-13-01": must be a time with its zone/),
    '--step "1w": must be whole seconds up to a day, e.g. 15s, 5m or 1h',
    '--max-samples "0": must be a number above 0, e.g. 200000000',
    '--format "json": must be openmetrics or victoriametrics',
    '--label "job": must be name=value, e.g. job=firstlight',
    '--label "__name__=x": must be name=value, e.g. job=firstlight',
    '--label "1x=y": must be name=value, e.g. job=firstlight',
    "--label a: is given twice",
  ]);
});

test.each([
  [{ since: "2026-08-21", until: "2026-08-21" }],
  [{ since: "2026-08-22", until: "2026-08-21" }],
  [{ since: "2027-01-01" }],
])("a window that ends before it begins is a mistake: %j", (raw) => {
  expect(mistakes(raw)).toEqual(["--since: must be earlier than --until, and than now"]);
});

test("a source is the store, the tables, or a slot by its name", () => {
  const database = { FIRSTLIGHT_DATABASE_URL: "postgres://a@b/c" };
  const from = (...words: string[]): unknown => parse({ from: words }, database).from;
  expect(from("tables")).toEqual({ kind: "tables" });
  expect(from("slot", "parked")).toEqual({ kind: "slot", slot: "parked" });
  const must = "must be store, tables, or slot and the name of one";
  for (const words of [["slot"], ["slot", ""], ["slot", "a", "b"], ["tables", "a"], ["wal"]])
    expect(mistakes({ from: words }, database)).toEqual([
      `--from ${JSON.stringify(words.join(" "))}: ${must}`,
    ]);
});

test("tables and slots need a database, the store does not", () => {
  expect(parse({ from: ["store"] }).from).toEqual({ kind: "store" });
  for (const from of [["tables"], ["slot", "parked"]])
    expect(mistakes({ from })).toEqual([expect.stringContaining("--database-url")]);
});

test("several labels in one variable: spaces do not matter, and a bad name is a mistake", () => {
  const labels = (text: string): unknown => parse({}, { FIRSTLIGHT_LABEL: text }).labels;
  expect(labels(" job=firstlight , instance=x:9788 ")).toEqual([
    ["instance", "x:9788"],
    ["job", "firstlight"],
  ]);
  expect(mistakes({}, { FIRSTLIGHT_LABEL: "job=a,cluster-name=b" })).toEqual([
    expect.stringContaining("cluster-name=b"),
  ]);
  expect(parse({}, { FIRSTLIGHT_FROM: "store " }).from).toEqual({ kind: "store" });
});

test("each flag has a variable, and the flag wins", () => {
  const env = {
    FIRSTLIGHT_FROM: "slot  parked",
    FIRSTLIGHT_OUT: "history",
    FIRSTLIGHT_STEP: "5m",
    FIRSTLIGHT_LABEL: "job=firstlight,instance=a,b:9788",
    FIRSTLIGHT_SINCE: "",
    FIRSTLIGHT_DATABASE_URL: "postgres://coder",
  };
  expect(parse({ out: "elsewhere" }, env)).toMatchObject({
    from: { kind: "slot", slot: "parked" },
    out: "elsewhere",
    since: null,
    step: 300 * SECOND,
    labels: [
      ["instance", "a,b:9788"],
      ["job", "firstlight"],
    ],
  });
});
