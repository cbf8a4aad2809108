// README tells what the code does: its tables are the catalog, its settings are the options, its links lead somewhere.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { OPTIONS } from "../src/config.ts";
import { README, withTables } from "./support/docs.ts";

const readme = readFileSync(README, "utf8");
if (process.env["FIRSTLIGHT_WRITE_DOCS"]) writeFileSync(README, withTables(readme));

test("the tables of README are those of the catalog", () => {
  expect(readFileSync(README, "utf8")).toBe(withTables(readme));
});

test("README lists every setting with its default", () => {
  for (const { flag, env, default: value, hidden } of OPTIONS) {
    if (hidden) expect(readme).not.toContain(`| \`${flag}\``);
    else
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
