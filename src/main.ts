#!/usr/bin/env node
// The process: arguments, environment, signals, exit codes. Nothing else touches them.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command, CommanderError, Option as CommanderOption } from "commander";
import { BACKFILL_FLAGS, type RawFlags, parseBackfill } from "./commands/backfill/flags.ts";
import { type Config, OPTIONS, UsageError, parseConfig } from "./config.ts";
import { NeedsOperator } from "./errors.ts";
import { createLog, maskPasswords } from "./log.ts";

const EXIT = { ok: 0, finding: 1, usage: 2, operator: 3 } as const;
/** A stop that takes longer than this is cut short; what is durable is durable. */
const STOP_WITHIN_MS = 5_000;

const { version } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as {
  version: string;
};

type Flags = Readonly<Record<string, string | boolean | undefined>>;
type Others = Readonly<Record<string, string>>;

/** Somebody is watching, and the database is ours. */
const DEMO: Others = { FIRSTLIGHT_READ_EVERY: "1s" };

const PROVE =
  "instead: a minute of crashes, deletions and a failover, and what coderd, Firstlight and a recount say after each";

const readFile = (path: string): string => readFileSync(path, "utf8");
/** A URL that was typed in the wrong place must not reach the log with its password. */
const say = (text: string): void => void process.stderr.write(`${maskPasswords(text)}\n`);
const print = (text: string): void => void process.stdout.write(text);

/** `others`: defaults of this command's own, as variables. */
function configure(flags: Flags, needsDatabase: boolean, others: Others = {}): Config {
  return parseConfig({ flags, env: { ...others, ...process.env }, readFile, needsDatabase });
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

async function runServe(flags: Flags): Promise<void> {
  const config = configure(flags, true);
  const log = createLog({ level: config.logLevel, format: config.logFormat });
  const { serve } = await import("./commands/serve.ts");
  await serve({ config, log, version, signal: stopSignal() });
}

async function runDemo(flags: Flags): Promise<void> {
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
async function runProof({ seed }: Flags): Promise<void> {
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

async function runSetup(flags: Flags): Promise<void> {
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

async function runTeardown(flags: Flags): Promise<void> {
  const { apply, role, ...rest } = flags;
  const config = configure(rest, apply === true);
  const { teardown } = await import("./commands/teardown.ts");
  const named = role === undefined ? {} : { role: String(role) };
  await teardown({ config, ...named, apply: apply === true, out: print, signal: stopSignal() });
}

async function runVerify(flags: Flags): Promise<void> {
  const config = configure(flags, true);
  const log = createLog({ level: config.logLevel, format: config.logFormat });
  const { verifyCommand } = await import("./commands/verify.ts");
  // Without an answer it must not look like one.
  whenStopped = EXIT.operator;
  const drift = await verifyCommand({ config, log, out: print, signal: stopSignal() });
  process.exitCode = drift === 0 ? EXIT.ok : EXIT.finding;
}

async function runDoctor({ json, estimate, ...flags }: Flags): Promise<void> {
  const config = configure(flags, true);
  const { doctorCommand } = await import("./commands/doctor.ts");
  whenStopped = EXIT.operator;
  const options = { config, json: json === true, out: print, signal: stopSignal() };
  const findings = await doctorCommand({ ...options, estimate: estimate === true });
  process.exitCode = findings === 0 ? EXIT.ok : EXIT.finding;
}

async function runBackfill(raw: RawFlags): Promise<void> {
  const now = Date.now() * 1000;
  const { config, flags } = parseBackfill(raw, { env: process.env, readFile, now });
  const { backfill } = await import("./commands/backfill.ts");
  whenStopped = EXIT.operator;
  saidWhenStopped = "stopped, nothing was written";
  const terminal = process.stderr.isTTY ? (text: string) => process.stderr.write(text) : null;
  const log = createLog({ level: config.logLevel, format: config.logFormat });
  await backfill({ config, flags, log, now, out: print, terminal, signal: stopSignal() });
}

function withOptions(command: Command): Command {
  for (const { flag, argument, description, env, default: value } of OPTIONS) {
    const option = new CommanderOption(
      argument ? `${flag} <${argument}>` : flag,
      `${description} [${env}]`,
    );
    // The default is shown, not set: only parseConfig knows whether a flag was given.
    if (value !== undefined) option.description += ` (default: ${value})`;
    command.addOption(option);
  }
  return command;
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
  withOptions(root.command("serve").description("follow the database and serve /metrics")).action(
    runServe,
  );
  withOptions(
    root
      .command("demo")
      .description("an embedded Postgres with simulated Coder traffic, and serve on it"),
  )
    .option(
      "--data-dir <folder>",
      "keep the demo's database and ledger here (default: a temporary folder)",
    )
    .option("--seed <number>", "what the simulated people do (default: 1)")
    .option(
      "--speed <factor>",
      "simulated seconds per second while the simulation is behind the clock (default: 20)",
    )
    .option("--prove", PROVE)
    .action(runDemo);
  withOptions(
    root
      .command("setup")
      .description("print the SQL that following needs, in blocks headed by who runs it"),
  )
    .option("--apply", "run what this user may")
    .option(
      "--whole-tables",
      "publish whole tables: never blocks a migration of Coder, but secrets leave the server",
    )
    .option(
      "--role <name>",
      "the role that will follow (default: the user of the database URL, else firstlight)",
    )
    .option(
      "--provider <name>",
      "print for a service: rds, aurora, cloudsql, azure, cnpg or neon (default: a server of your own)",
    )
    .option(
      "--with-slot",
      "create the slot, too: from then on the server keeps all WAL until `serve` reads it",
    )
    .action(runSetup);
  withOptions(
    root
      .command("teardown")
      .description("print the SQL that removes slot, publication and grants, by who runs it"),
  )
    .option("--apply", "run what this user may, once Firstlight has stopped")
    .option("--role <name>", "the role that followed (default: firstlight)")
    .action(runTeardown);
  withOptions(
    root
      .command("verify")
      .description("compare the ledger of a running serve with the tables, id by id, at one LSN"),
  ).action(runVerify);
  withOptions(
    root
      .command("doctor")
      .description("check all that following needs by trying it, each finding with its fix"),
  )
    .option("--json", "print one JSON document")
    .option(
      "--estimate",
      "instead say what following would take: series, WAL, time, and what polling costs",
    )
    .action(runDoctor);
  const backfill = root
    .command("backfill")
    .description("write history as files that Prometheus or VictoriaMetrics takes");
  for (const { flags, description, repeated } of BACKFILL_FLAGS) {
    const option = new CommanderOption(flags, description);
    backfill.addOption(repeated ? option.argParser(collected) : option);
  }
  withOptions(backfill).action(runBackfill);
  // `npm start`: serve when a database is configured, else the demo.
  withOptions(root)
    .option("--prove", PROVE)
    .allowExcessArguments()
    .action((flags: Flags, { args: [unknown] }: Command) => {
      if (unknown !== undefined) root.error(`error: unknown command '${unknown}'`);
      if (flags["prove"] === true) return runProof(flags);
      return configure(flags, false).databaseConfigured ? runServe(flags) : runDemo(flags);
    });
  return root;
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
