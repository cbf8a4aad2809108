// What `/api/facts` is asked, as a pure function of the query string: one question, or all that is wrong with it.

import { A_TIME, askedTime, timeOf } from "../change/instant.ts";
import type { Micros } from "../change/micros.ts";

const KINDS = [
  "attempted",
  "ended",
  "connected",
  "offered",
  "created",
  "deleted",
  "started",
  "ran",
  "ready",
  "overdue",
] as const;
const STATUSES = ["success", "failure", "canceled", "timeout", "error"] as const;
const STAGES = ["queue", "provisioner"] as const;
const BUILDS = ["first", "prebuild", "claim", "other"] as const;

export type Kind = (typeof KINDS)[number];

/** All that is given must hold; null: anything. */
export interface Question {
  readonly kinds: readonly Kind[];
  readonly statuses: readonly (typeof STATUSES)[number][] | null;
  readonly stages: readonly (typeof STAGES)[number][] | null;
  readonly errorCodes: readonly string[] | null;
  readonly builds: readonly (typeof BUILDS)[number][] | null;
  /** From here on. */
  readonly since: Micros | null;
  /** Before here. */
  readonly until: Micros | null;
  /** Older than this fact, in the order of the answers. */
  readonly before: Place | null;
  readonly limit: number;
  /** Whether to answer with names of people and what is theirs. */
  readonly names: boolean;
}

/** The place of a fact in the answers, as `next` spells it. */
export interface Place {
  readonly at: Micros;
  readonly kind: Kind;
  readonly id: string;
}

const PARAMETERS =
  "kind, status, stage, error_code, build, since, until, before, limit, names".split(", ");
const USUAL_LIMIT = 100;
const MOST = 1_000;

/** Reads a query string. `now`: what durations are counted back from. */
export function questionOf(
  asked: URLSearchParams,
  now: Micros,
): Question | { readonly mistakes: readonly string[] } {
  const mistakes = [...new Set(asked.keys())]
    .filter((name) => !PARAMETERS.includes(name))
    .map((name) => `${name}: is not known; there are ${PARAMETERS.join(", ")}`);
  const some = <T extends string>(name: string, allowed: readonly T[]): readonly T[] | null => {
    const given = [...new Set(listed(asked, name))];
    const wrong = given.filter((word) => !allowed.includes(word as T));
    for (const word of wrong)
      mistakes.push(`${name} ${JSON.stringify(word)}: must be of ${allowed.join(", ")}`);
    return asked.has(name) ? (given as T[]) : null;
  };
  const one = <T>(name: string, must: string, read: (text: string) => T | null): T | null => {
    const [text, ...more] = asked.getAll(name);
    if (text === undefined) return null;
    const value = read(text);
    if (value === null) mistakes.push(`${name} ${JSON.stringify(text)}: must be ${must}`);
    if (more.length > 0) mistakes.push(`${name}: is given ${more.length + 1} times; give it once`);
    return value;
  };
  const kinds = some("kind", KINDS);
  const time = (text: string): Micros | null => askedTime(text, now);
  const question: Question = {
    kinds: kinds ?? KINDS,
    statuses: some("status", STATUSES),
    stages: some("stage", STAGES),
    errorCodes: asked.has("error_code") ? listed(asked, "error_code") : null,
    builds: some("build", BUILDS),
    since: one("since", A_TIME, time),
    until: one("until", A_TIME, time),
    before: one("before", "the `next` of an answer", placeOf),
    limit:
      one("limit", `a whole number from 1 to ${MOST}`, (text) =>
        /^\d{1,4}$/.test(text) && Number(text) >= 1 && Number(text) <= MOST ? Number(text) : null,
      ) ?? USUAL_LIMIT,
    names: one("names", "true or false", (text) => FLAGS.get(text) ?? null) ?? false,
  };
  mistakes.push(...contradictions(question));
  return mistakes.length > 0 ? { mistakes } : question;
}

const FLAGS = new Map([
  ["true", true],
  ["false", false],
]);

/** What could match nothing, whatever the ledger holds. */
function contradictions({ kinds, since, until, ...asked }: Question): string[] {
  const mistakes: string[] = [];
  const onlyEnds = [
    ...(asked.stages ? ["stage"] : []),
    ...(asked.errorCodes ? ["error_code"] : []),
  ];
  // A misspelt kind may have been meant.
  const areNone = (of: readonly Kind[]): boolean =>
    kinds.every((kind) => KINDS.includes(kind)) && !kinds.some((kind) => of.includes(kind));
  if (asked.statuses && areNone(["ended", "ran", "ready"]))
    mistakes.push("status: only facts of kind ended, ran and ready have that; ask for these");
  if (onlyEnds.length > 0 && areNone(["ended", "ran"]))
    mistakes.push(
      `${onlyEnds.join(", ")}: only facts of kind ended and ran have that; ask for these`,
    );
  if (asked.builds && areNone(["ended", "attempted", "created", "deleted", "started", "ready"]))
    mistakes.push(
      "build: only facts of kind attempted, ended, created, deleted, started and ready have that; ask for these",
    );
  if (since !== null && until !== null && since >= until)
    mistakes.push("since: must be earlier than until");
  return mistakes;
}

/** A parameter may be repeated, or hold several words with commas between them. */
function listed(asked: URLSearchParams, name: string): string[] {
  return asked.getAll(name).flatMap((text) => text.split(",").map((word) => word.trim()));
}

const PLACE = /^([^,]+),([a-z]+),([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

function placeOf(text: string): Place | null {
  const [, time = "", word, id = ""] = PLACE.exec(text) ?? [];
  const at = timeOf(time);
  const kind = KINDS.find((known) => known === word);
  return at === null || kind === undefined ? null : { at, kind, id };
}
