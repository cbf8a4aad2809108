// What `doctor` says about one thing, and what its checks have in common.

import { NeedsOperator, Transient } from "../../errors.ts";
import type { Finding } from "../publication.ts";

/**
 * `problem`: `serve` would not follow, would count wrongly, or statements of Coder fail. `risk`: it works until something else
 * happens, or gives away more than it must. Both are findings. `note`: good to know, nothing is wrong.
 */
export type Severity = "problem" | "risk" | "note";

export interface Diagnosis extends Finding {
  readonly severity: Severity;
}

/** What a check found, and what it saw that is worth a line although nothing is wrong. */
export interface Seen {
  readonly found: readonly Diagnosis[];
  readonly about: readonly string[];
}

/** Of `requirements.ts`: all of them keep `serve` from following. */
export const problems = (findings: readonly Finding[]): Diagnosis[] =>
  findings.map((finding) => ({ ...finding, severity: "problem" }));

/** What an error says, with what to do; null for one that is a bug. */
export function saidBy(error: unknown): { readonly message: string; readonly hint: string } | null {
  if (error instanceof NeedsOperator) return { message: error.message, hint: error.hint };
  if (error instanceof Transient)
    return { message: error.message, hint: "run `firstlight doctor` again" };
  return null;
}

/** Bytes as Postgres writes them, in powers of 1024, e.g. `1.4 GB`. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1_024 && unit < units.length - 1) [value, unit] = [value / 1_024, unit + 1];
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** A time span in the unit that fits, e.g. `about 3 days`. */
export function spanText(seconds: number): string {
  if (!Number.isFinite(seconds)) return "never";
  const units: readonly (readonly [number, string])[] = [
    [86_400, "days"],
    [3_600, "hours"],
    [60, "minutes"],
    [1, "seconds"],
  ];
  const [size, name] = units.find(([least]) => seconds >= 2 * least) ?? [1, "seconds"];
  return `about ${Math.round(seconds / size).toLocaleString("en-US")} ${name}`;
}
