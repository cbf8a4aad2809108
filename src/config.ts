// Configuration: flags and environment in, one `Config` or a list of all mistakes out. Pure: it touches neither the process
// nor a file, except through what it is given.
//
// `settings` below is the table: the schema of each option, and in `about` what its flag, env twin and help need.

import type { ClientConfig } from "pg";
import { z } from "zod";
import {
  parseAgentLabels,
  parseBytes,
  parseFamilies,
  parseCoderUrl,
  parseInterval,
  parseListen,
  parseReadEvery,
  parseRetireAfter,
  parseSeriesLimit,
} from "./config-values.ts";
import { URL_FILE, findDatabase } from "./config-database.ts";
import { unknownVariables } from "./environment.ts";
import { webConfigMistakes } from "./http/web-files.ts";
import { LOG_LEVELS, type LogFormat, type LogLevel } from "./log.ts";
import { AGENT_LABELS, type AgentLabel } from "./metrics/families/agents.ts";

export interface Config {
  /** False: no database URL was given (allowed only where `needsDatabase` is false), and `database` throws. */
  readonly databaseConfigured: boolean;
  /** How to connect. Reads secret and CA files again each time, because tokens rotate. Throws `Transient` if it can not. */
  readonly database: () => Promise<ClientConfig>;
  readonly listen: { readonly host: string; readonly port: number };
  /** The file with TLS and basic auth of the HTTP server; undefined: neither. */
  readonly webConfig?: string | undefined;
  readonly slot: string;
  readonly publication: string;
  readonly statePath: string;
  readonly baseline: "tables" | "none";
  readonly onGap: "baseline" | "halt";
  /** The system identifier that may take the place of the ledger's own. */
  readonly adoptSystem?: string | undefined;
  readonly temporarySlot: boolean;
  /** In bytes; undefined: decided by the server's own limit. */
  readonly maxSlotLag?: number | undefined;
  /** From the end of one burst to that of the next, in milliseconds; 0: stream. */
  readonly readEveryMs: number;
  /** Pause between two comparisons with the tables, in milliseconds; null: none. */
  readonly verifyEveryMs: number | null;
  readonly metricPrefix: string;
  readonly agentLabels: readonly AgentLabel[];
  /** Names without prefix of the families that are on. */
  readonly families: readonly string[];
  /** Label sets that a family may have; Infinity: no limit. */
  readonly seriesLimit: number;
  /** How long after a workspace's deletion its series go, in milliseconds; null: they stay. */
  readonly seriesRetireAfterMs: number | null;
  /** Where people find Coder, without a slash at the end; undefined: facts have no links. */
  readonly coderUrl?: string | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** Wrong usage or configuration: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** One line each: which flag or variable, its value unless secret, what is allowed. */
  readonly mistakes: readonly string[];
  constructor(mistakes: readonly string[]) {
    super(`wrong configuration:\n${mistakes.map((mistake) => `  ${mistake}`).join("\n")}`);
    this.mistakes = mistakes;
  }
}

/** One option, for the command line and its help. */
export interface Option {
  /** Its name in the flags record, as commander spells it: `agentLabels`. */
  readonly key: string;
  readonly flag: string;
  readonly env: string;
  /** The argument's name in the help; absent for a switch. */
  readonly argument?: string;
  readonly default?: string;
  readonly description: string;
  readonly secret?: boolean;
  /** An empty value is a value. Elsewhere an empty variable counts as not set. */
  readonly mayBeEmpty?: boolean;
}

const about = z.registry<Omit<Option, "key" | "flag" | "env">>();

const settings = z.object({
  databaseUrl: z.string().optional().register(about, {
    argument: "url",
    description:
      "Coder's database, a replica or the primary; the variable may also be DATABASE_URL, or name a file with _FILE",
    secret: true,
  }),
  databaseCa: z.string().optional().register(about, {
    argument: "file",
    description:
      "certificate authorities to trust for TLS (PEM); means sslmode=verify-full if the URL names no mode",
  }),
  databasePasswordFile: z.string().optional().register(about, {
    argument: "file",
    description:
      "the database password by itself, read again at each connection: for passwords and tokens that rotate",
  }),
  listen: z.string().transform(parseListen).register(about, {
    argument: "host:port",
    default: "127.0.0.1:9788",
    description: "address of the HTTP server",
  }),
  webConfig: z.string().optional().register(about, {
    argument: "file",
    description:
      "TLS and basic auth of the HTTP server, in the format of Prometheus' exporters; read again when it changes",
  }),
  slot: z
    .string()
    .regex(/^[a-z0-9_]{1,63}$/, "must be 1 to 63 of a-z, 0-9 and _")
    .register(about, {
      argument: "name",
      default: "firstlight",
      description: "replication slot to follow",
    }),
  publication: z
    .string()
    .regex(
      /^[a-z_][a-z0-9_]{0,62}$/,
      "must be 1 to 63 of a-z, 0-9 and _, and not begin with a digit",
    )
    .register(about, {
      argument: "name",
      default: "firstlight",
      description: "publication to follow",
    }),
  state: z.string().min(1, "must be the path of a file").register(about, {
    argument: "file",
    default: "./data/firstlight.db",
    description: "the ledger; created when missing",
  }),
  baseline: z.enum(["tables", "none"], { error: "must be tables or none" }).register(about, {
    argument: "tables|none",
    default: "tables",
    description:
      "how an empty store begins: from the tables, or from where the slot stands, counting only that",
  }),
  onGap: z.enum(["baseline", "halt"], { error: "must be baseline or halt" }).register(about, {
    argument: "baseline|halt",
    default: "baseline",
    description: "after a gap: heal from the tables, or wait for an operator",
  }),
  adoptSystem: z
    .string()
    .regex(/^\d{1,20}$/, "must be a system identifier, as pg_control_system() shows it")
    .optional()
    .register(about, {
      argument: "id",
      description:
        "go on with the same ledger on this other Postgres system (after pg_upgrade, dump and restore)",
    }),
  temporarySlot: z
    .enum(["true", "false"], { error: "must be true or false" })
    .transform((value) => value === "true")
    .register(about, {
      default: "false",
      description:
        "leave no slot behind: it ends with the connection, and each connection begins from the tables",
    }),
  maxSlotLag: z.string().transform(parseBytes).optional().register(about, {
    argument: "bytes",
    description:
      "drop the slot when it holds back more WAL than this, e.g. 10GB, and heal from the tables (default: half of max_slot_wal_keep_size, else 10GB)",
  }),
  readEvery: z.string().transform(parseReadEvery).register(about, {
    argument: "duration",
    default: "5s",
    description:
      "read the slot in bursts, so often that news shows within this time, e.g. 500ms or 10s; 0 streams, which costs the database more",
  }),
  metricPrefix: z
    .string()
    .regex(
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)?$/,
      "must be the beginning of a metric name, e.g. coderd_, or empty",
    )
    .register(about, {
      argument: "prefix",
      default: "coderd_",
      description: "first part of the names of the metrics about Coder",
      mayBeEmpty: true,
    }),
  agentLabels: z
    .string()
    .transform(parseAgentLabels)
    .register(about, {
      argument: "names",
      default: AGENT_LABELS.join(","),
      description: "labels of the agent metrics; fewer labels, fewer series",
    }),
  families: z.string().transform(parseFamilies).register(about, {
    argument: "names",
    default: "default",
    description:
      "metrics about Coder to have, without prefix, read from left to right: default, all, NAME adds, -NAME takes away",
  }),
  seriesLimit: z.string().transform(parseSeriesLimit).register(about, {
    argument: "count",
    default: "100000",
    description:
      "label sets that one metric may have; what comes after them is counted in one series, __other__; 0: no limit",
  }),
  coderUrl: z.string().transform(parseCoderUrl).optional().register(about, {
    argument: "url",
    description:
      "where people find Coder, e.g. https://coder.example.com: /api/facts then has links",
    // It has none, but one that was given by mistake must not be shown.
    secret: true,
  }),
  seriesRetireAfter: z.string().transform(parseRetireAfter).register(about, {
    argument: "duration",
    default: "7d",
    description:
      "how long after a workspace is deleted the series that name it go, e.g. 36h; never: they stay; their totals go on if it is made again",
  }),
  verifyEvery: z.string().transform(parseInterval).register(about, {
    argument: "duration",
    default: "off",
    description:
      "compare the ledger with the tables by id this often, e.g. 24h; reads the tables each time",
  }),
  logLevel: z
    .enum(LOG_LEVELS, { error: `must be one of ${LOG_LEVELS.join(", ")}` })
    .register(about, {
      argument: "level",
      default: "info",
      description: `least severe level to log: ${LOG_LEVELS.join(", ")}`,
    }),
  logFormat: z.enum(["json", "text"], { error: "must be json or text" }).register(about, {
    argument: "format",
    default: "json",
    description: "json or text",
  }),
});

/** Every option of the contract. */
export const OPTIONS: readonly Option[] = Object.entries(settings.shape).map(([key, schema]) => {
  const words = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const env = `FIRSTLIGHT_${words.replaceAll("-", "_").toUpperCase()}`;
  return { key, flag: `--${words}`, env, description: "", ...about.get(schema) };
});

/** Values as text, by `Option.key`. */
type Raw = Record<string, string | undefined>;

/** What the command line says, as commander gives it, by the flag's name in camel case; absent or undefined: nothing. */
export type RawFlags = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

export interface ConfigInput {
  /** By `Option.key`. */
  readonly flags: RawFlags;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Variables that are known, too, and no settings. */
  readonly beside?: readonly string[];
  /** Reads a small text file; may throw. */
  readonly readFile: (path: string) => string;
  /** Whether a missing database URL is a mistake. Default true. */
  readonly needsDatabase?: boolean;
}

/** Throws `UsageError` with all mistakes at once. */
export function parseConfig(input: ConfigInput): Config {
  const mistakes: string[] = [];
  const raw: Raw = {};
  const sources = new Map<string, string>();
  for (const option of OPTIONS) {
    const { value, source } = given(option, input);
    raw[option.key] = value ?? option.default;
    // A secret is named, never shown.
    sources.set(
      option.key,
      value === undefined || option.secret ? source : `${source} ${JSON.stringify(value)}`,
    );
  }
  const parsed = settings.safeParse(raw);
  for (const issue of parsed.error?.issues ?? []) {
    mistakes.push(`${sources.get(String(issue.path[0]))}: ${issue.message}`);
  }
  const database = findDatabase(
    {
      ...input,
      flag: input.flags["databaseUrl"]?.toString(),
      url: raw["databaseUrl"],
      caPath: raw["databaseCa"],
      passwordFile:
        raw["databasePasswordFile"] === undefined
          ? undefined
          : {
              path: raw["databasePasswordFile"],
              name: sources.get("databasePasswordFile") ?? "",
            },
    },
    mistakes,
  );
  if (database === undefined && (input.needsDatabase ?? true))
    mistakes.push("--database-url: is missing; give it, or set FIRSTLIGHT_DATABASE_URL");
  if (raw["webConfig"] !== undefined) {
    const found = webConfigMistakes(raw["webConfig"], input.readFile);
    mistakes.push(...found.map((mistake) => `${sources.get("webConfig")}: ${mistake}`));
  }
  const known = [...OPTIONS.map((option) => option.env), URL_FILE, ...(input.beside ?? [])];
  mistakes.push(...unknownVariables(input.env, known));
  if (parsed.data?.temporarySlot && parsed.data.baseline === "none") {
    mistakes.push("--temporary-slot: leaves nothing to replay, so --baseline can not be none");
  }
  if (!parsed.success || mistakes.length > 0) throw new UsageError(mistakes);
  const {
    state,
    verifyEvery,
    readEvery,
    seriesRetireAfter,
    databaseUrl: _url,
    databaseCa: _ca,
    databasePasswordFile: _passwordFile,
    ...options
  } = parsed.data;
  return {
    databaseConfigured: database !== undefined,
    database: database ?? noDatabase,
    ...options,
    statePath: state,
    verifyEveryMs: verifyEvery,
    readEveryMs: readEvery,
    seriesRetireAfterMs: seriesRetireAfter,
  };
}

async function noDatabase(): Promise<ClientConfig> {
  throw new UsageError(["--database-url: is missing"]);
}

/** The flag wins over the variable. */
function given(
  option: Option,
  { flags, env }: Pick<ConfigInput, "flags" | "env">,
): { value?: string; source: string } {
  const flag = flags[option.key];
  if (flag !== undefined) return { value: String(flag), source: option.flag };
  const variable = env[option.env];
  if (variable === undefined || (variable === "" && !option.mayBeEmpty))
    return { source: option.flag };
  return { value: variable, source: option.env };
}

/** An option's value as it was written, or its default. */
export function textOf(key: string, input: Pick<ConfigInput, "flags" | "env">): string {
  const option = OPTIONS.find((each) => each.key === key);
  return (option && given(option, input).value) ?? option?.default ?? "";
}
