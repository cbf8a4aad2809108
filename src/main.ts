#!/usr/bin/env node
// The process: arguments, environment, signals, exit codes. Nothing else touches them.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { Command, CommanderError, Option as CommanderOption } from "commander";
import { parseBackfill } from "./commands/backfill/flags.ts";
import {
  type CommandName,
  OWN_FLAGS,
  OWN_VARIABLES,
  type OwnFlag,
  namingVariables,
  variableOf,
  withVariables,
} from "./commands/flags.ts";
import { type Config, OPTIONS, type RawFlags, UsageError, parseConfig } from "./config.ts";
import { NeedsOperator } from "./errors.ts";
import { createLog, maskPasswords } from "./log.ts";

// Little lives beside what a baseline or a replay goes through, and V8 lets the heap grow to three times of it before it collects. The
// flag of how much by: ARCHITECTURE.md has the figures.
setFlagsFromString("--heap-growing-percent=40");

const EXIT = { ok: 0, finding: 1, usage: 2, operator: 3 } as const;
/** A stop that takes longer than this is cut short; what is durable is durable. */
const STOP_WITHIN_MS = 5_000;

const { version } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as {
  version: string;
};

type Others = Readonly<Record<string, string>>;

/** Somebody is watching, and the database is ours. */
const DEMO: Others = { FIRSTLIGHT_READ_EVERY: "1s" };

const readFile = (path: string): string => readFileSync(path, "utf8");
/** A URL that was typed in the wrong place must not reach the log with its password. */
const say = (text: string): void => void process.stderr.write(`${maskPasswords(text)}\n`);
const print = (text: string): void => void process.stdout.write(text);

/** `others`: defaults of this command's own, as variables. */
function configure(flags: RawFlags, needsDatabase: boolean, others: Others = {}): Config {
  const env = { ...others, ...process.env };
  return parseConfig({ flags, env, beside: OWN_VARIABLES, readFile, needsDatabase });
}

const stop = new AbortController();
let whenStopped: number = EXIT.ok;
let saidWhenStopped = "stopped, no answer";

/** Aborts at the first SIGTERM or SIGINT; a second one, or 5 s, ends the process at once. */
function stopSignal(): AbortSignal {
  const onSignal = (name: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(whenStopped);
    stop.abort(new Error(`stopped by ${name}`));
    setTimeout(() => process.exit(whenStopped), STOP_WITHIN_MS).unref();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  return stop.signal;
}

async function runServe(flags: RawFlags): Promise<void> {
  const config = configure(flags, true);
  const log = createLog({ level: config.logLevel, format: config.logFormat });
  const { serve } = await import("./commands/serve.ts");
  await serve({ config, log, version, signal: stopSignal() });
}

async function runDemo(flags: RawFlags): Promise<void> {
  const { dataDir, seed, speed, prove, ...rest } = flags;
  if (prove === true) return runProof({ seed });
  const config = configure(rest, false, DEMO);
  const { demo, parseDemoFlags } = await import("./commands/demo.ts");
  const options = parseDemoFlags({ dataDir, seed, speed });
  await demo({
    ...options,
    config,
    version,
    signal: stopSignal(),
    print: (line) => print(`${line}\n`),
  });
}

/** The follower of the proof is configured by the proof alone. */
async function runProof({ seed }: RawFlags): Promise<void> {
  const { parseDemoFlags } = await import("./commands/demo.ts");
  const { prove } = await import("./commands/prove.ts");
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(FIRSTLIGHT_|PG|DATABASE_URL$)/.test(name)),
  );
  whenStopped = EXIT.operator;
  saidWhenStopped = "stopped, nothing was proved";
  const proved = await prove({
    main: fileURLToPath(import.meta.url),
    env,
    seed: parseDemoFlags({ seed }).seed,
    signal: stopSignal(),
    print: (line) => print(`${line}\n`),
  });
  process.exitCode = proved ? EXIT.ok : EXIT.finding;
}

async function runSetup(flags: RawFlags): Promise<void> {
  const { apply, wholeTables, withSlot, role, provider, ...rest } = flags;
  const config = configure(rest, apply === true);
  const { setup, parseSetupFlags } = await import("./commands/setup.ts");
  await setup({
    config,
    ...parseSetupFlags({ role, provider }),
    apply: apply === true,
    wholeTables: wholeTables === true,
    withSlot: withSlot === true,
    out: print,
    signal: stopSignal(),
  });
}

async function runTeardown(flags: RawFlags): Promise<void> {
  const { apply, role, ...rest } = flags;
  const config = configure(rest, apply === true);
  const { teardown } = await import("./commands/teardown.ts");
  const named = role === undefined ? {} : { role: String(role) };
  await teardown({ config, ...named, apply: apply === true, out: print, signal: stopSignal() });
}

async function runVerify(flags: RawFlags): Promise<void> {
  const config = configure(flags, true);
  const log = createLog({ level: config.logLevel, format: config.logFormat });
  const { verifyCommand } = await import("./commands/verify.ts");
  // Without an answer it must not look like one.
  whenStopped = EXIT.operator;
  const drift = await verifyCommand({ config, log, out: print, signal: stopSignal() });
  process.exitCode = drift === 0 ? EXIT.ok : EXIT.finding;
}

async function runDoctor({ json, estimate, ...flags }: RawFlags): Promise<void> {
  const config = configure(flags, true);
  const { doctorCommand } = await import("./commands/doctor.ts");
  whenStopped = EXIT.operator;
  const options = { config, json: json === true, out: print, signal: stopSignal() };
  const findings = await doctorCommand({ ...options, estimate: estimate === true });
  process.exitCode = findings === 0 ? EXIT.ok : EXIT.finding;
}

async function runBackfill(raw: RawFlags): Promise<void> {
  const now = Date.now() * 1000;
  const { config, flags } = parseBackfill(raw, {
    env: process.env,
    beside: OWN_VARIABLES,
    readFile,
    now,
  });
  const { backfill } = await import("./commands/backfill.ts");
  whenStopped = EXIT.operator;
  saidWhenStopped = "stopped, nothing was written";
  const terminal = process.stderr.isTTY ? (text: string) => process.stderr.write(text) : null;
  const log = createLog({ level: config.logLevel, format: config.logFormat });
  await backfill({ config, flags, log, now, out: print, terminal, signal: stopSignal() });
}

const COMMANDS: Readonly<
  Record<
    Exclude<CommandName, "">,
    { readonly description: string; readonly run: (flags: RawFlags) => Promise<void> }
  >
> = {
  serve: { description: "follow the database and serve /metrics", run: runServe },
  demo: {
    description: "an embedded Postgres with simulated Coder traffic, and serve on it",
    run: runDemo,
  },
  setup: {
    description: "print the SQL that following needs, in blocks headed by who runs it",
    run: runSetup,
  },
  teardown: {
    description: "print the SQL that removes slot, publication and grants, by who runs it",
    run: runTeardown,
  },
  verify: {
    description: "compare the ledger of a running serve with the tables, id by id, at one LSN",
    run: runVerify,
  },
  doctor: {
    description: "check all that following needs by trying it, each finding with its fix",
    run: runDoctor,
  },
  backfill: {
    description: "write history as files that Prometheus or VictoriaMetrics takes",
    run: runBackfill,
  },
};

/** A command with its own flags and all settings. */
function describe(
  command: Command,
  name: CommandName,
  run: (flags: RawFlags) => Promise<void>,
): Command {
  for (const flag of OWN_FLAGS[name] as readonly OwnFlag[]) {
    const option = new CommanderOption(flag.flags, `${flag.description} [${variableOf(flag)}]`);
    command.addOption(flag.repeated ? option.argParser(collected) : option);
  }
  for (const { flag, argument, description, env, default: value } of OPTIONS) {
    const option = new CommanderOption(
      argument ? `${flag} <${argument}>` : flag,
      `${description} [${env}]`,
    );
    // The default is shown, not set: only parseConfig knows whether a flag was given.
    if (value !== undefined) option.description += ` (default: ${value})`;
    command.addOption(option);
  }
  return command.action(async (given: RawFlags) => {
    const { env } = process;
    try {
      await run(withVariables(name, given, env));
    } catch (error) {
      throw namingVariables(error, name, given, env);
    }
  });
}

function program(): Command {
  const root = new Command("firstlight")
    .description(
      "Exact, all-time Prometheus metrics for a Coder deployment, from its database's write-ahead log.",
    )
    .version(version)
    .enablePositionalOptions()
    .configureOutput({ outputError: (text, write) => write(maskPasswords(text)) })
    .exitOverride()
    .showHelpAfterError("(see --help)");
  for (const [name, { description, run }] of Object.entries(COMMANDS))
    describe(root.command(name).description(description), name as keyof typeof COMMANDS, run);
  // `npm start`: serve when a database is configured, else the demo.
  describe(root, "", async (flags) => {
    const [unknown] = root.args;
    if (unknown !== undefined) root.error(`error: unknown command '${unknown}'`);
    const follows = flags["prove"] !== true && configure(flags, false).databaseConfigured;
    return follows ? runServe(flags) : runDemo(flags);
  });
  return root.allowExcessArguments();
}

const collected = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** The exit code, with what happened on standard error. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof UsageError) {
    say(`firstlight: ${error.message}`);
    return EXIT.usage;
  }
  if (error instanceof NeedsOperator) {
    say(`firstlight: ${error.message}\nWhat to do: ${error.hint}`);
    return EXIT.operator;
  }
  say(
    `firstlight: unexpected error, please report it: ${error instanceof Error ? error.stack : String(error)}`,
  );
  return EXIT.operator;
}

try {
  await program().parseAsync();
} catch (error) {
  process.exitCode = stop.signal.aborted ? whenStopped : explain(error);
  if (process.exitCode !== EXIT.ok && stop.signal.aborted) say(`firstlight: ${saidWhenStopped}`);
}
// Whatever still holds a handle (a half-open connection) must not keep a stopped process alive.
process.exit();
