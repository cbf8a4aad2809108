// The tables of README and docs/metrics.md, made from the catalog.

import { createCatalog } from "../../src/metrics/catalog.ts";
import { type Family, fullName } from "../../src/metrics/family.ts";
import { HEALTH } from "../../src/metrics/health.ts";
import { ROOM_HELP, SERIES_HELP } from "../../src/metrics/registry.ts";

export const README = new URL("../../README.md", import.meta.url);

export const METRICS = new URL("../../docs/metrics.md", import.meta.url);

const CATALOG = createCatalog({
  agentLabels: ["template_name", "agent_name", "username", "workspace_name"],
});

/** README with its generated parts replaced by what the catalog says now. */
export function withTables(readme: string): string {
  const families = [
    "| metric | default | type | labels | meaning |",
    "|---|---|---|---|---|",
    ...CATALOG.map(familyRow),
  ];
  const health = ["| metric | type | meaning |", "|---|---|---|", ...healthRows()];
  return replacePart(replacePart(readme, "families", families), "health", health);
}

/** docs/metrics.md likewise. */
export function withDetails(metrics: string): string {
  const rows = CATALOG.map((family) => {
    const buckets = family.type === "histogram" ? family.buckets.join(", ") : "";
    return `| \`${fullName(family, "coderd_")}\` | ${byDefault(family)} | ${buckets} | ${family.upstream ?? "Nothing: it is ours."} |`;
  });
  const head = [
    "| metric | default | buckets, in seconds | what coderd exports under this name |",
    "|---|---|---|---|",
  ];
  return replacePart(metrics, "upstream", [...head, ...rows]);
}

function familyRow(family: Family): string {
  const labels = family.labels.map((label) => `\`${label}\``).join(", ");
  return `| \`${fullName(family, "coderd_")}\` | ${byDefault(family)} | ${family.type} | ${labels} | ${family.help} |`;
}

function byDefault({ shown }: Family): string {
  return shown === "always" ? shown : shown === "by default" ? "on" : "off";
}

function healthRows(): string[] {
  const rows = HEALTH.map(([name, type, help]) => ({ name, type, help }));
  rows.unshift({ name: "build_info", type: "gauge", help: "The version that runs." });
  rows.push({ name: "series", type: "gauge", help: SERIES_HELP });
  rows.push({ name: "series_room", type: "gauge", help: ROOM_HELP });
  const histograms = [
    "| `firstlight_event_delay_seconds` | histogram | Seconds from a transaction's commit, by the server's clock, until its facts were visible here. |",
    "| `firstlight_store_commit_seconds` | histogram | Seconds that a commit of the store took, fsync included. |",
  ];
  return [
    ...rows.map(({ name, type, help }) => `| \`firstlight_${name}\` | ${type} | ${help} |`),
    ...histograms,
  ];
}

function replacePart(text: string, part: string, lines: readonly string[]): string {
  const begin = `<!-- ${part}:begin (npm run docs) -->`;
  const end = `<!-- ${part}:end -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`there is no part ${part}`);
  return `${text.slice(0, from + begin.length)}\n${lines.join("\n")}\n${text.slice(to)}`;
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
