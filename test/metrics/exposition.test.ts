import { describe, expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { BuildTraits } from "../../src/derive/fact.ts";
import {
  TEXT_CONTENT_TYPE,
  renderBound,
  renderHeader,
  renderNumber,
} from "../../src/metrics/exposition.ts";
import { renderLabels } from "../../src/metrics/pages.ts";
import { CATALOG, OFFERED, foldOf, page } from "../support/folding.ts";
import {
  AGENT_NAMES,
  attempted,
  connected,
  ended,
  overdue,
  pendingAgent,
  importStarted,
  pendingBuild,
  ran,
  ready,
  runningJob,
  started,
  TRAITS,
  uuid,
} from "../support/rows.ts";

const PREBUILD: BuildTraits = { ...TRAITS, prebuild: true };
const CLAIM: BuildTraits = { ...TRAITS, initial: false, claimed: "large" };

/** A small world: two builds, one failed and one in flight, a prebuild that was claimed, and agents with names that need escaping. */
function smallWorld(): string {
  const odd = { ...AGENT_NAMES, workspace: 'back\\slash "quoted"\nline ünïcode 🚀' };
  const fold = foldOf(
    [
      OFFERED,
      { ...OFFERED, id: uuid(8), names: { ...AGENT_NAMES, preset: "" } },
      attempted(),
      attempted({ id: uuid(10) }),
      started(),
      ended({ status: "failure", stage: "provisioner", errorCode: "QUOTA" }),
      importStarted({ took: 0 }),
      ran({ took: 7 * SECOND }),
      attempted({ id: uuid(20), traits: PREBUILD }),
      ended({ id: uuid(21), traits: PREBUILD, took: 42 * SECOND }),
      attempted({ id: uuid(22), traits: CLAIM }),
      ended({ id: uuid(23), traits: CLAIM, took: 5 * SECOND }),
      connected(),
      connected({ id: uuid(11), took: 1 * SECOND }),
      connected({ id: uuid(12), took: 4_000 * SECOND, names: odd }),
      connected({ id: uuid(13), took: -1 }),
      overdue({ id: uuid(12) }),
      ready(),
      ready({ id: uuid(21), traits: PREBUILD, status: "timeout", took: 600 * SECOND }),
    ],
    [
      pendingBuild({ id: uuid(14) }),
      runningJob({ id: uuid(14) }),
      pendingAgent({ names: { ...AGENT_NAMES, agent: "idle" } }),
    ],
  );
  return page(fold.publish(), "coderd_");
}

// A change here is a change for every dashboard: it belongs in the changelog. Accept it with `vitest run -u`.
test("the page of a small world is test/metrics/golden.prom", async () => {
  await expect(smallWorld()).toMatchFileSnapshot("golden.prom");
});

test("the page is a valid text page: HELP, TYPE, then series of that name only", () => {
  const text = smallWorld();
  expect(text.endsWith("\n")).toBe(true);
  const blocks = text.split(/^(?=# HELP )/m);
  expect(blocks).toHaveLength(CATALOG.length);
  for (const block of blocks) {
    const [help = "", type = "", ...lines] = block.trimEnd().split("\n");
    const [, name = ""] = /^# HELP (\w+) ./.exec(help) ?? [];
    expect(type).toMatch(new RegExp(`^# TYPE ${name} (counter|gauge|histogram)$`));
    const series = new RegExp(
      `^${name}(_bucket|_sum|_count)?\\{(\\w+="([^"\\\\\\n]|\\\\[\\\\n"])*",?)*\\} [0-9.e+]+$`,
    );
    for (const line of lines) expect(line).toMatch(series);
  }
});

test("the content type is the exact one of the text format", () => {
  expect(TEXT_CONTENT_TYPE).toBe("text/plain; version=0.0.4; charset=utf-8");
});

test.each([
  [0, "0"],
  [42, "42"],
  [41.2, "41.2"],
  [0.000001, "0.000001"],
  [1e21, "1e+21"],
  [Number.MAX_SAFE_INTEGER, "9007199254740991"],
  [Number.NaN, "NaN"],
  [Number.POSITIVE_INFINITY, "+Inf"],
  [Number.NEGATIVE_INFINITY, "-Inf"],
])("the number %d is %s", (value, text) => {
  expect(renderNumber(value)).toBe(text);
});

test.each([
  [1, "1.0"],
  [3_600, "3600.0"],
  [0.5, "0.5"],
  [Number.POSITIVE_INFINITY, "+Inf"],
])("the bucket bound %d is %s", (bound, text) => {
  expect(renderBound(bound)).toBe(text);
});

describe("escaping", () => {
  test.each([
    ["a backslash", "a\\b", String.raw`a\\b`],
    ["a quote", 'a"b', String.raw`a\"b`],
    ["a line feed", "a\nb", String.raw`a\nb`],
    ["a backslash before an n, which is no line feed", "a\\nb", String.raw`a\\nb`],
    ["unicode, a brace, a comma and a tab as they are", "ü🚀{},\t", "ü🚀{},\t"],
  ])("%s", (_name, value, text) => {
    expect(renderLabels(["x"], [value])).toBe(`x="${text}"`);
  });

  test("help texts keep their quotes", () => {
    expect(renderHeader("x", { help: 'a\\b\n"c"', type: "gauge" })).toBe(
      '# HELP x a\\\\b\\n"c"\n# TYPE x gauge\n',
    );
  });
});
