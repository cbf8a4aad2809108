// The recording rules are what the catalog says, and what their documentation says. Their values: rules.e2e.test.ts.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { must } from "../../src/errors.ts";
import { createCatalog } from "../../src/metrics/catalog.ts";
import { fullName } from "../../src/metrics/family.ts";
import { README } from "../support/docs.ts";
import { missingTool } from "../support/prometheus.ts";
import { RULES, recordingRules } from "../support/rules.ts";

if (process.env["FIRSTLIGHT_WRITE_DOCS"]) writeFileSync(RULES, recordingRules());

const missing = missingTool("promtool");
const title = (about: string): string => (missing ? `SKIPPED, ${missing}: ${about}` : about);
const text = readFileSync(RULES, "utf8");
const ruleFile = z.object({
  groups: z.array(z.object({ rules: z.array(z.object({ record: z.string(), expr: z.string() })) })),
});
const rules = ruleFile.parse(parse(text)).groups.flatMap((group) => group.rules);
const recorded = rules.map(({ record }) => record);
const recipes = recipesOf(readFileSync(README, "utf8"));

/** Labels of every series that we export, by its name. */
const exported = new Map(
  createCatalog({
    agentLabels: ["template_name", "agent_name", "username", "workspace_name"],
  }).flatMap((family) => {
    const name = fullName(family, "coderd_");
    if (family.type !== "histogram") return [[name, [...family.labels]] as const];
    return [
      [`${name}_bucket`, [...family.labels, "le"]] as const,
      [`${name}_sum`, [...family.labels]] as const,
      [`${name}_count`, [...family.labels]] as const,
    ];
  }),
);

test("the rule file is the one that `npm run docs` writes", () => {
  expect(text).toBe(recordingRules());
});

test("rules and recipes name metrics that there are, with labels that they have", () => {
  expect(recipes.length).toBeGreaterThan(4);
  for (const expr of [...rules.map((rule) => rule.expr), ...recipes]) {
    for (const [name = ""] of expr.matchAll(/(?<![\w:])(?:coderd|firstlight)_\w+/g)) {
      expect([...exported.keys()], expr).toContain(name);
    }
  }
  // Each total: the labels that are kept and those that are summed over are all there are.
  const totals = rules.filter(({ expr }) => /^max by \([^)]*\) \(sum without/.test(expr));
  expect(totals.length).toBe(16);
  for (const { expr } of totals) {
    const [, kept = "", summed = "", name = ""] =
      /^max by \(job(.*?)\) \(sum without \((.*?)\) \((?:\{__name__=~")?(\w+)[{|]/.exec(expr) ?? [];
    const labels = `${kept}, ${summed}`.split(", ").filter((label) => label !== "");
    expect(labels.sort(), expr).toEqual([...must(exported.get(name), expr)].sort());
  }
});

test("a rule reads only what was recorded before it, and no name is recorded twice", () => {
  expect(new Set(recorded).size).toBe(recorded.length);
  for (const [index, { expr }] of rules.entries()) {
    for (const [name] of expr.matchAll(/(?:preset|template|job):[\w:]+/g)) {
      expect(recorded.slice(0, index), expr).toContain(name);
    }
  }
});

test("docs/rules.md names every recorded series", () => {
  const docs = readFileSync(new URL("../../docs/rules.md", import.meta.url), "utf8");
  for (const record of recorded) {
    const [, metric = "", operations = ""] = record.split(":");
    const operation = operations.replace(/(?<=increase)(1h|1d|7d|30d)$/, "‹window›");
    expect(docs, record).toContain(`:${metric}:${operation}\``);
  }
});

test.skipIf(missing)(title("promtool accepts the rules, and the recipes of README"), () => {
  expect(promtool("check", "rules", fileURLToPath(RULES))).toContain(
    `SUCCESS: ${rules.length} rules found`,
  );
  const quoted = recipes.map((expr, index) => ({ record: `recipe:${index}`, expr }));
  expect(checked(stringify({ groups: [{ name: "readme", rules: quoted }] }))).toContain(
    `SUCCESS: ${recipes.length} rules found`,
  );
});

test.skipIf(missing)(title("what the file says of another job and prefix works"), () => {
  const [, job, prefix] = must(/sed -e '(.+?)' -e '(.+?)'/.exec(text), "the file names no sed");
  const changed = spawnSync("sed", ["-e", must(job, "job"), "-e", must(prefix, "prefix")], {
    input: text,
    encoding: "utf8",
  }).stdout;
  const changedRules = changed.slice(changed.indexOf("groups:"));
  expect(changedRules).not.toMatch(/coderd_|"firstlight"/);
  expect(checked(changedRules)).toContain(`SUCCESS: ${rules.length} rules found`);
  // Those of our own have the one prefix, in what is read and in what is recorded.
  const own = /\bfirstlight_\w+/g;
  expect(changedRules.match(own)).toEqual(text.slice(text.indexOf("groups:")).match(own));
  expect(changedRules).toContain('(firstlight_time_to_first_light_seconds_sum{job="other"})');
});

/** What promtool prints; throws all of it when it is not content. */
function promtool(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync("promtool", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`promtool ${args.join(" ")}:\n${stdout}${stderr}`);
  return stdout;
}

function checked(content: string): string {
  const folder = mkdtempSync(join(tmpdir(), "firstlight-rules-"));
  try {
    const path = join(folder, "checked.rules.yml");
    writeFileSync(path, content);
    return promtool("check", "rules", path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The expressions of the promql blocks; comments and blank lines are between them. */
function recipesOf(markdown: string): string[] {
  return [...markdown.matchAll(/```promql\n(.*?)```/gs)].flatMap(([, block = ""]) =>
    block
      .split(/\n\s*\n/)
      .map((part) => part.replaceAll(/^#.*\n/gm, "").trim())
      .filter((part) => part !== ""),
  );
}
