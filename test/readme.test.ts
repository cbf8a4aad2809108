// README and docs/metrics.md tell what the code does: their tables are the catalog, the settings are the options, links lead
// somewhere.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { OPTIONS } from "../src/config.ts";
import { METRICS, README, withDetails, withTables } from "./support/docs.ts";

const readme = readFileSync(README, "utf8");
const metrics = readFileSync(METRICS, "utf8");
if (process.env["FIRSTLIGHT_WRITE_DOCS"]) {
  writeFileSync(README, withTables(readme));
  writeFileSync(METRICS, withDetails(metrics));
}

test("the tables of README and docs/metrics.md are those of the catalog", () => {
  expect(readFileSync(README, "utf8")).toBe(withTables(readme));
  expect(readFileSync(METRICS, "utf8")).toBe(withDetails(metrics));
});

test("README lists every setting with its default", () => {
  for (const { flag, env, default: value } of OPTIONS) {
    expect(readme).toMatch(
      new RegExp(`\\| \`${flag}\` \\| .*\`${env}\`.* \\| .*${value ? escape(value) : ""}`),
    );
  }
});

test("the files that README links to are there", () => {
  for (const [, path = ""] of readme.matchAll(/\]\(((?!https?:)[^)#]+)/g)) {
    expect(existsSync(new URL(`../${path}`, import.meta.url)), path).toBe(true);
  }
});

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
