// The import order of the folders, read from the import lines of every file in src. The rules are data and the checker
// is a function of a file's name and text, so that a table of forbidden edges can show that it fails.

import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { describe, expect, test } from "vitest";

const SHARED = ["lsn.ts", "errors.ts", "log.ts"];
const LOWER = ["change", "derive", "metrics", "postgres"];

/** What each folder (or top-level file) may import of the others, besides itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  "lsn.ts": [],
  "errors.ts": [],
  "log.ts": [],
  "environment.ts": [],
  change: ["lsn.ts", "errors.ts"],
  derive: ["lsn.ts", "errors.ts", "change"],
  metrics: ["lsn.ts", "errors.ts", "change", "derive"],
  history: ["lsn.ts", "errors.ts", "change", "derive", "metrics"],
  postgres: [...SHARED, "change"],
  store: [...SHARED, "change", "derive", "metrics"],
  http: [...SHARED, "change", "metrics"],
  "config-values.ts": ["change/instant.ts", "metrics/catalog.ts", "metrics/families/agents.ts"],
  "config-database.ts": ["postgres/url.ts"],
  "config.ts": [
    "config-database.ts",
    "config-values.ts",
    "errors.ts",
    "log.ts",
    "environment.ts",
    "http/web-files.ts",
    "metrics/families/agents.ts",
  ],
  pipeline: [...SHARED, "config.ts", ...LOWER, "history", "store"],
  demo: ["lsn.ts", "errors.ts", "change"],
  commands: [...SHARED, "config.ts", ...LOWER, "history", "store", "pipeline", "http"],
  "commands/demo.ts": ["demo"],
  "commands/prove.ts": ["demo"],
  "main.ts": ["errors.ts", "log.ts", "config.ts", "commands"],
};

/** Pure: they run anywhere, and nothing that they import can change under them. */
const NO_PACKAGES = [
  "lsn.ts",
  "errors.ts",
  "change",
  "derive",
  "metrics/catalog.ts",
  "metrics/family.ts",
  "metrics/families",
  "history",
];

/** Derivation is a function of its arguments. */
const IMPURE =
  /\b(Date\.now|new Date|Math\.random|performance|setTimeout|setInterval|await|async|Buffer|process|globalThis|fetch)\b/;

const IMPORT = /^\s*(?:import|export)\b(?:[^"';]*?\bfrom)?\s*"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;

/** Everything that is wrong with one file of src; `path` is relative to src. */
function violations(path: string, source: string): string[] {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const edges = [...code.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? "");
  const found = edges.flatMap((target) =>
    target.startsWith(".")
      ? [forbiddenEdge(path, join(dirname(path), target))]
      : NO_PACKAGES.some((pure) => isIn(path, pure))
        ? [`${path} imports ${target}, but is free of packages`]
        : [],
  );
  if (/^\s*export\s+default\b/m.test(code)) found.push(`${path} has a default export`);
  if (/^\s*export\s+(\*|(type\s+)?\{[^}]*\}\s*from\b)/m.test(code))
    found.push(`${path} is a barrel`);
  if (path !== "main.ts" && /\bprocess\.(env|on|once|exit|exitCode)\b/.test(code))
    found.push(`${path} touches what only main.ts may`);
  if (isIn(path, "derive") && IMPURE.test(code))
    found.push(`${path} uses ${IMPURE.exec(code)?.[0]}, but derivation is pure`);
  return found.filter((violation) => violation !== null);
}

function forbiddenEdge(from: string, to: string): string | null {
  if (!to.endsWith(".ts")) return `${from} imports ${to} without its extension`;
  if (to.startsWith("../")) return `${from} imports ${to} from outside of src`;
  const home = unitOf(from);
  const allowed = [home, ...(ALLOWED[home] ?? []), ...(ALLOWED[from] ?? [])];
  // Top-level files are units of their own: a file never "imports itself".
  return allowed.some((unit) => isIn(to, unit)) ? null : `${from} imports ${to}`;
}

/** The folder of a path, or a top-level file itself. */
const unitOf = (path: string): string => path.split("/", 1)[0] ?? path;
const isIn = (path: string, unit: string): boolean => path === unit || path.startsWith(`${unit}/`);

const SRC = new URL("../src/", import.meta.url);
const FILES = globSync("**/*.ts", { cwd: SRC }).map((path) => path.replaceAll("\\", "/"));

describe("src", () => {
  test.each(FILES)("%s imports only what lies below it", (path) => {
    expect(violations(path, readFileSync(new URL(path, SRC), "utf8"))).toEqual([]);
  });

  test("every folder and top-level file has its rule", () => {
    expect([...new Set(FILES.map(unitOf))].filter((unit) => !(unit in ALLOWED))).toEqual([]);
  });

  test("every allowed edge between folders is one way", () => {
    const reach = (from: string, seen: Set<string>): Set<string> => {
      for (const to of (ALLOWED[from] ?? []).map(unitOf)) {
        if (!seen.has(to)) reach(to, seen.add(to));
      }
      return seen;
    };
    for (const unit of Object.keys(ALLOWED)) expect(reach(unit, new Set())).not.toContain(unit);
  });
});

describe("the checker refuses", () => {
  test.each([
    ["change/row.ts", 'import type { Fact } from "../derive/fact.ts";'],
    ["derive/step.ts", 'import { Store } from "../store/store.ts";'],
    ["derive/step.ts", 'import type { Family } from "../metrics/catalog.ts";'],
    ["metrics/fold.ts", 'import { openSession } from "../postgres/session.ts";'],
    ["history/curves.ts", 'import { openHistory } from "../store/history.ts";'],
    ["metrics/fold.ts", 'import { Curves } from "../history/curves.ts";'],
    ["history/manifest.ts", 'import { createHash } from "node:crypto";'],
    ["postgres/decode.ts", 'import { step } from "../derive/step.ts";'],
    ["store/store.ts", 'import { follow } from "../pipeline/follow.ts";'],
    ["http/app.ts", 'import { Store } from "../store/store.ts";'],
    ["pipeline/run.ts", 'import { serve } from "../commands/serve.ts";'],
    ["commands/serve.ts", 'import { startServer } from "../demo/server.ts";'],
    ["pipeline/run.ts", 'const { startServer } = await import("../demo/server.ts");'],
    ["demo/server.ts", 'import { Store } from "../store/store.ts";'],
    ["lsn.ts", 'import { must } from "./errors.ts";'],
    ["config.ts", 'import { openSession } from "./postgres/session.ts";'],
    ["lsn.ts", 'import { inspect } from "node:util";'],
    ["change/micros.ts", 'import { z } from "zod";'],
    ["metrics/catalog.ts", 'import {\n  Registry,\n  Histogram,\n} from "prom-client";'],
    ["derive/state.ts", 'import "node:buffer";'],
    ["metrics/fold.ts", 'import { SECOND } from "../change/micros";'],
    ["demo/server.ts", 'import { createDatabase } from "../../test/support/database.ts";'],
    ["http/app.ts", "export default function app() {}"],
    ["store/store.ts", 'export * from "./codec.ts";'],
    ["store/store.ts", 'export { bytesToId } from "./codec.ts";'],
    ["config.ts", "const url = process.env.DATABASE_URL;"],
    ["commands/serve.ts", 'process.on("SIGTERM", stop);'],
    ["pipeline/run.ts", "process.exit(3);"],
    ["derive/step.ts", "const now = Date.now();"],
    ["derive/step.ts", 'const id = Buffer.from(text, "hex");'],
  ])("in %s: %s", (path, source) => {
    expect(violations(path, source)).toHaveLength(1);
  });

  test("nothing that is allowed", () => {
    const source = [
      "// process.env is main.ts's business",
      'import type { Lsn } from "../lsn.ts";',
      'import {\n  type Fact,\n} from "../derive/fact.ts";',
      'import { Histogram } from "prom-client";',
      "export const answer = 42;",
    ].join("\n");
    expect(violations("metrics/vitals.ts", source)).toEqual([]);
    expect(violations("commands/demo.ts", 'import { x } from "../demo/server.ts";')).toEqual([]);
  });
});
