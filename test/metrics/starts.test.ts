// coderd_template_workspace_build_duration_seconds: labels, buckets, births, and what is dropped.

import { expect, test } from "vitest";
import { SECOND } from "../../src/change/micros.ts";
import type { Fact } from "../../src/derive/fact.ts";
import { OFFERED, foldOf, page } from "../support/folding.ts";
import { BUILDABLE, NAMES, TRAITS, ready, uuid } from "../support/rows.ts";

const NAME = "template_workspace_build_duration_seconds";

const lines = (facts: readonly Fact[], name: string): readonly string[] =>
  page(foldOf(facts).publish())
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`))
    .map((line) => line.slice(name.length));
const counted = (facts: readonly Fact[]): readonly string[] =>
  lines(facts, `${NAME}_count`).filter((line) => !line.endsWith(" 0"));

const labels = (status: string, isPrebuild: string): string =>
  `{template_name="docker",organization_name="acme",transition="start",status="${status}",is_prebuild="${isPrebuild}"}`;

test("a start is one sample, by how it went and whether the pool made it", () => {
  const facts = [
    ready(),
    ready({ id: uuid(30), status: "timeout" }),
    ready({ id: uuid(31), status: "error", names: { ...NAMES, preset: "" } }),
    ready({ id: uuid(32), traits: { ...TRAITS, prebuild: true } }),
  ];
  expect(counted(facts)).toEqual([
    `${labels("success", "false")} 1`,
    `${labels("timeout", "false")} 1`,
    `${labels("error", "false")} 1`,
    `${labels("success", "true")} 1`,
  ]);
  expect(lines(facts, `${NAME}_sum`)[0]).toBe(`${labels("success", "false")} 90`);
});

test("a bucket holds its bound, and a microsecond more falls into the next", () => {
  const facts = [60, 60.000001].map((seconds, n) =>
    ready({ id: uuid(n), took: Math.round(seconds * SECOND) }),
  );
  const values = lines(facts, `${NAME}_bucket`).map((line) => line.split(" ").at(-1));
  expect(values).toEqual(["0", "0", "0", "1", "2", "2", "2", "2", "2"]);
});

test.each([
  [-1, "negative"],
  [100 * 365 * 86_400 * SECOND + 1, "out_of_range"],
])("a start of %d µs is dropped, and counted as %s", (took, reason) => {
  expect(counted([ready({ took })])).toEqual([]);
  expect(lines([ready({ took })], "firstlight_dropped_samples_total")).toContain(
    `{reason="${reason}"} 1`,
  );
});

test("what can be built exists at 0, with a preset also as a prebuild", () => {
  const statuses = ["success", "timeout", "error"];
  expect(lines([OFFERED], `${NAME}_count`)).toEqual(
    ["false", "true"].flatMap((is) => statuses.map((status) => `${labels(status, is)} 0`)),
  );
  const plain = { ...OFFERED, names: { ...BUILDABLE, preset: "" } };
  expect(lines([plain], `${NAME}_count`)).toEqual(
    statuses.map((status) => `${labels(status, "false")} 0`),
  );
});
