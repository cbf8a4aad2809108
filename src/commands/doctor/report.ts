// What `doctor` prints: for people, findings first to last with their fixes as text to paste; for programs, one JSON document.

import type { Diagnosis, Severity } from "../../postgres/doctor/diagnosis.ts";

export interface Report {
  readonly findings: readonly Diagnosis[];
  /** What was seen and is well. */
  readonly about: readonly string[];
}

/** A note is no finding. */
export const isFinding = ({ severity }: Diagnosis): boolean => severity !== "note";

const ORDER: readonly Severity[] = ["problem", "risk", "note"];

export function reportText({ findings, about }: Report): string {
  const ordered = ORDER.flatMap((severity) =>
    findings.filter((each) => each.severity === severity),
  );
  const counts = ORDER.map((severity) => counted(findings, severity)).join(", ");
  const lines = [
    ...ordered.flatMap(({ severity, check, problem, fix }) => [
      `${severity} ${check}: ${problem}`,
      ...fix.split("\n").map((line) => `    ${line}`),
      "",
    ]),
    ...about,
    counts,
  ];
  return `${lines.join("\n")}\n`;
}

function counted(findings: readonly Diagnosis[], severity: Severity): string {
  const n = findings.filter((each) => each.severity === severity).length;
  return `${n} ${severity}${n === 1 ? "" : "s"}`;
}

export const reportJson = (report: Report): string => `${JSON.stringify(report, null, 2)}\n`;
