// The report as Markdown: what is promised and whether it holds, then each section with its figures, rounded.

import type { Measured } from "./archive.ts";
import { machineText } from "./machine.ts";
import { type Check, type Table, holds } from "./section.ts";

const HEAD = `# Performance

Written by \`npm run bench\` (\`test/bench/\`), which starts its own servers; \`npm run bench -- --help\` names the sizes. What is
promised are ratios, each the median of pairs that were measured one after the other in one run. Absolute figures are those of
the machine named below, which other work shared: they are told, never promised.
`;

/** Sections in the order in which they are to stand. */
export function markdownOf(sections: readonly Measured[]): string {
  const latest =
    sections
      .map(({ date }) => date)
      .sort()
      .at(-1) ?? "";
  const newest = sections.find(({ date }) => date === latest);
  if (newest === undefined) return HEAD;
  const machine = machineText(newest.machine);
  return [
    HEAD,
    `Last measured on ${day(latest)}: ${machine}.`,
    "",
    "## What is promised",
    "",
    ...promises(sections.flatMap(({ report }) => report.checks)),
    ...sections.flatMap((section) => sectionText(section, machine)),
  ].join("\n");
}

function promises(checks: readonly Check[]): string[] {
  const rows = checks.map((check) => [
    check.claim,
    shown(check.value),
    `${check.atLeast ? "≥" : "≤"} ${shown(check.limit)}`,
    holds(check) ? "yes" : `**no**: ${shown(check.value / check.limit)} of the limit`,
  ]);
  return tableText({ head: ["claim", "measured", "limit", "holds"], rows });
}

function sectionText(
  { date, seconds, pairs, smoke, machine, report }: Measured,
  newest: string,
): string[] {
  const where = machineText(machine) === newest ? "" : ` on ${machineText(machine)}`;
  const how = `${pairs} pairs, ${Math.round(seconds)} s${smoke ? ", small sizes (`--smoke`)" : ""}`;
  return [
    `## ${report.title}`,
    "",
    report.about,
    "",
    `Measured on ${day(date)}${where}: ${how}.`,
    "",
    ...report.tables.flatMap((table) => [`**${table.caption}**`, "", ...tableText(table)]),
    ...report.notes.map((note) => `- ${note}`),
    ...(report.notes.length > 0 ? [""] : []),
  ];
}

function tableText({ head, rows }: Pick<Table, "head" | "rows">): string[] {
  const isNumber = head.map((_, i) => rows.some((row) => typeof row[i] === "number"));
  return [
    line(head),
    line(isNumber.map((right) => (right ? "---:" : "---"))),
    ...rows.map((row) => line(row.map(shown))),
    "",
  ];
}

/** Three digits that count; from a thousand on, whole numbers. */
export function shown(value: string | number): string {
  if (typeof value === "string") return value.replaceAll("|", "\\|");
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value) || Math.abs(value) >= 1000)
    return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const day = (date: string): string => date.slice(0, 10);
