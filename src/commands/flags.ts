// The flags that one command has for itself, beside the settings that all share (config.ts). Each may also be given as a variable:
// `--dry-run` as FIRSTLIGHT_DRY_RUN. The flag wins.

import { type RawFlags, UsageError } from "../config.ts";
import { BACKFILL_FLAGS } from "./backfill/flags.ts";

/** One flag, for the command line and its help. */
export interface OwnFlag {
  /** As the help shows it: `--since <time>`; without an argument it is a switch. */
  readonly flags: string;
  readonly description: string;
  /** May be given several times. */
  readonly repeated?: boolean;
  /** What stands between the values of a variable that has several. */
  readonly between?: RegExp;
  /** Its variable, where that is not called as the flag: what changes a database is switched on for one command. */
  readonly variable?: string;
}

/** Of the demonstration, which is also what runs where no database is configured. */
const DEMO: readonly OwnFlag[] = [
  {
    flags: "--data-dir <folder>",
    description: "keep the demo's database and ledger here (default: a temporary folder)",
  },
  { flags: "--seed <number>", description: "what the simulated people do (default: 1)" },
  {
    flags: "--speed <factor>",
    description:
      "simulated seconds per second while the simulation is behind the clock (default: 20)",
  },
  {
    flags: "--prove",
    description:
      "instead: a minute of crashes, deletions and a failover, and what coderd, Firstlight and a recount say after each",
  },
];

const APPLY = "--apply";

/** By command; `""` is no command at all, as in `npm start`. */
export const OWN_FLAGS = {
  "": DEMO,
  serve: [],
  demo: DEMO,
  setup: [
    {
      flags: APPLY,
      description: "run what this user may",
      variable: "FIRSTLIGHT_SETUP_APPLY",
    },
    {
      flags: "--whole-tables",
      description:
        "publish whole tables: never blocks a migration of Coder, but secrets leave the server",
    },
    {
      flags: "--role <name>",
      description:
        "the role that will follow (default: the user of the database URL, else firstlight)",
    },
    {
      flags: "--provider <name>",
      description:
        "print for a service: rds, aurora, cloudsql, azure, cnpg or neon (default: a server of your own)",
    },
    {
      flags: "--with-slot",
      description:
        "create the slot, too: from then on the server keeps all WAL until `serve` reads it",
    },
  ],
  teardown: [
    {
      flags: APPLY,
      description: "run what this user may, once Firstlight has stopped",
      variable: "FIRSTLIGHT_TEARDOWN_APPLY",
    },
    { flags: "--role <name>", description: "the role that followed (default: firstlight)" },
  ],
  verify: [],
  doctor: [
    { flags: "--json", description: "print one JSON document" },
    {
      flags: "--estimate",
      description:
        "instead say what following would take: series, WAL, time, and what polling costs",
    },
  ],
  backfill: BACKFILL_FLAGS,
} as const satisfies Readonly<Record<string, readonly OwnFlag[]>>;

export type CommandName = keyof typeof OWN_FLAGS;

/** The flag's variable: FIRSTLIGHT_DRY_RUN of `--dry-run`. */
export function variableOf({ flags, variable }: Pick<OwnFlag, "flags" | "variable">): string {
  return variable ?? `FIRSTLIGHT_${nameOf(flags).replaceAll("-", "_").toUpperCase()}`;
}

/** Those of every command: they may be set while another command runs. */
export const OWN_VARIABLES: readonly string[] = [
  ...new Set(Object.values(OWN_FLAGS).flat().map(variableOf)),
];

/**
 * What was given to a command: its flags, and the variables of those that were not given. An empty variable counts as not set. Throws
 * `UsageError`.
 */
export function withVariables(
  command: CommandName,
  given: RawFlags,
  env: Readonly<Record<string, string | undefined>>,
): RawFlags {
  const all: Record<string, RawFlags[string]> = { ...given };
  const mistakes: string[] = [];
  for (const flag of OWN_FLAGS[command] as readonly OwnFlag[]) {
    const variable = variableOf(flag);
    const [key, text] = [keyOf(flag), env[variable]];
    if (all[key] !== undefined || text === undefined || text === "") continue;
    if (flag.between) all[key] = text.trim().split(flag.between);
    else if (flag.flags.includes("<")) all[key] = text;
    else if (text === "true" || text === "false") all[key] = text === "true";
    else mistakes.push(`${variable} ${JSON.stringify(text)}: must be true or false`);
  }
  if (mistakes.length > 0) throw new UsageError(mistakes);
  return all;
}

/** A mistake in what a variable says names the variable, and not the flag that nobody gave. */
export function namingVariables(
  error: unknown,
  command: CommandName,
  given: RawFlags,
  env: Readonly<Record<string, string | undefined>>,
): unknown {
  if (!(error instanceof UsageError)) return error;
  const fromVariables = (OWN_FLAGS[command] as readonly OwnFlag[]).filter(
    (flag) => given[keyOf(flag)] === undefined && env[variableOf(flag)],
  );
  const named = new Map(
    fromVariables.map((flag) => [`--${nameOf(flag.flags)}` as string, variableOf(flag)] as const),
  );
  return new UsageError(
    error.mistakes.map((mistake) =>
      mistake.replace(/^--[a-z-]+/, (flag) => named.get(flag) ?? flag),
    ),
  );
}

function nameOf(flags: string): string {
  return /^--([a-z-]+)/.exec(flags)?.[1] ?? "";
}

function keyOf({ flags }: OwnFlag): string {
  return nameOf(flags).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
