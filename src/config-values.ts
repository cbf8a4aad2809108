// The text of single options as values: sizes, durations, addresses. Pure; a mistake becomes an issue that says what is allowed.

import { z } from "zod";
import { secondsIn } from "./change/instant.ts";
import { selectFamilies } from "./metrics/catalog.ts";
import { AGENT_LABELS, type AgentLabel } from "./metrics/families/agents.ts";

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 2 ** 10,
  MB: 2 ** 20,
  GB: 2 ** 30,
  TB: 2 ** 40,
};

/** Sizes as Postgres writes them: powers of 1024. */
export function parseBytes(text: string, context: z.RefinementCtx): number {
  const [, digits, unit = "B"] = /^(\d{1,15}) ?([kMGT]?B)?$/.exec(text) ?? [];
  const bytes = Number(digits) * (UNITS[unit] ?? Number.NaN);
  if (!Number.isSafeInteger(bytes) || bytes === 0) {
    context.addIssue("must be a size above 0, e.g. 512MB or 10GB");
    return z.NEVER;
  }
  return bytes;
}

/** What a timer can wait for, in seconds, is a little more. */
const LONGEST_INTERVAL = 24 * 86_400;

/** In milliseconds; null: never. */
export function parseInterval(text: string, context: z.RefinementCtx): number | null {
  if (text === "off") return null;
  const seconds = secondsIn(text);
  if (!(seconds > 0 && seconds <= LONGEST_INTERVAL)) {
    context.addIssue("must be off, or from 1s to 24d, e.g. 90s, 30m or 24h");
    return z.NEVER;
  }
  return seconds * 1000;
}

/** A hundred years, in days. */
const LONGEST_RETIRE_AFTER = 36_500;

/** In milliseconds; null: never. */
export function parseRetireAfter(text: string, context: z.RefinementCtx): number | null {
  if (text === "never" || text === "off") return null;
  const seconds = secondsIn(text);
  if (!(seconds > 0 && seconds <= LONGEST_RETIRE_AFTER * 86_400)) {
    context.addIssue(`must be never, or from 1s to ${LONGEST_RETIRE_AFTER}d, e.g. 36h or 7d`);
    return z.NEVER;
  }
  return seconds * 1000;
}

const LONGEST_READ_EVERY_MS = 60_000;

/** In milliseconds; 0: never pauses. */
export function parseReadEvery(text: string, context: z.RefinementCtx): number {
  if (text === "0") return 0;
  const [, digits, unit = ""] = /^(\d{1,5})(ms|s)$/.exec(text) ?? [];
  const ms = Number(digits) * (unit === "s" ? 1000 : 1);
  if (!(ms >= 10 && ms <= LONGEST_READ_EVERY_MS)) {
    context.addIssue("must be 0, or from 10ms to 60s, e.g. 500ms or 2s");
    return z.NEVER;
  }
  return ms;
}

export function parseListen(
  text: string,
  context: z.RefinementCtx,
): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]*):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port > 65_535) {
    context.addIssue(
      "must be host:port, e.g. 127.0.0.1:9788, [::1]:9788, or :9788 for all addresses",
    );
    return z.NEVER;
  }
  return { host: match[1].replace(/^\[|\]$/g, "") || "::", port };
}

/** Where people find Coder, without slashes at its end. Passwords and the like would come back in every link. */
export function parseCoderUrl(text: string, context: z.RefinementCtx): string {
  const url = URL.parse(text);
  const plain =
    url !== null &&
    ["http:", "https:"].includes(url.protocol) &&
    `${url.username}${url.password}${url.search}${url.hash}` === "" &&
    !/[?#]/.test(text);
  if (!plain) {
    context.addIssue(
      "must be an http:// or https:// address without user, password, ? or #, e.g. https://coder.example.com",
    );
    return z.NEVER;
  }
  return url.href.replace(/\/+$/, "");
}

export function parseAgentLabels(text: string, context: z.RefinementCtx): AgentLabel[] {
  const names = text.split(",").map((name) => name.trim());
  const known = AGENT_LABELS.filter((label) => names.includes(label));
  if (known.length !== names.length) {
    context.addIssue(
      `must be one or more of ${AGENT_LABELS.join(", ")}, separated by commas, each once`,
    );
    return z.NEVER;
  }
  return known;
}

/** Names of families, without prefix. */
export function parseFamilies(text: string, context: z.RefinementCtx): readonly string[] {
  const { families, mistakes } = selectFamilies(text);
  for (const mistake of mistakes) context.addIssue(mistake);
  return mistakes.length > 0 ? z.NEVER : families;
}

/** What a Map can hold is a little more. */
const HIGHEST_SERIES_LIMIT = 10_000_000;

/** Label sets; Infinity for none. */
export function parseSeriesLimit(text: string, context: z.RefinementCtx): number {
  const limit = /^\d{1,8}$/.test(text) ? Number(text) : Number.NaN;
  if (!(limit <= HIGHEST_SERIES_LIMIT)) {
    context.addIssue(
      "must be a number of label sets up to 10000000, e.g. 100000, or 0 for no limit",
    );
    return z.NEVER;
  }
  return limit === 0 ? Number.POSITIVE_INFINITY : limit;
}
