// `npm run bench`: runs sections, each on servers of its own, and writes one report in Markdown and JSON.

import { Command, InvalidArgumentError } from "commander";
import { Archive, type Measured } from "./support/archive.ts";
import { describeMachine } from "./support/machine.ts";
import { markdownOf } from "./support/report.ts";
import { type BenchOptions, type Section, holds } from "./support/section.ts";

const SECTIONS = ["steady", "polling", "drain", "growth", "scrape", "restart"];
const REPORT = "docs/performance";
const EXIT = { ok: 0, floor: 1, broken: 3, interrupted: 130 } as const;

/** Each is a list of numbers; what it means is the section's. */
const SIZES: Readonly<Record<string, string>> = {
  rates: "heartbeats a second (steady)",
  seconds: "of a window in which bursts are measured (steady)",
  backlog: "heartbeats to drain (drain)",
  builds: "in the history of a deployment (polling, growth)",
  workspaces: "with a series each (scrape, restart)",
};

interface Flags {
  readonly only?: readonly string[];
  readonly pairs?: number;
  readonly smoke?: boolean;
  readonly out?: string;
  readonly [size: string]: unknown;
}

const stop = new AbortController();
const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** The first one stops the section at hand, which takes its servers along; the second one ends the process at once. */
function onSignal(): void {
  if (stop.signal.aborted) process.exit(EXIT.interrupted);
  say("stopping");
  stop.abort(new Error("interrupted"));
}

function program(): Command {
  const command = new Command("bench")
    .description("measures Firstlight against what people use today")
    .option("--only <sections>", `some of ${SECTIONS.join(",")}`, sectionNames)
    .option(
      "--pairs <count>",
      "interleaved pairs for each promised ratio (default: 5; 2 with --smoke)",
      positive,
    )
    .option("--smoke", "small sizes and loose limits; exit code 1 if one of them does not hold")
    .option(
      "--out <path>",
      `write <path>.md and <path>.json, keeping what was not measured again (default: ${REPORT} for a full run, else standard output)`,
    );
  for (const [name, meaning] of Object.entries(SIZES))
    command.option(`--${name} <numbers>`, meaning, numbers);
  return command;
}

async function bench(flags: Flags): Promise<number> {
  const { only = SECTIONS, smoke = false, pairs = smoke ? 2 : 5, out } = flags;
  const path = out ?? (flags.only === undefined && !smoke ? REPORT : null);
  const archive = await Archive.open(path);
  const options: BenchOptions = {
    smoke,
    pairs,
    sizes: sizesOf(flags),
    log: say,
    signal: stop.signal,
  };
  const sections: Section[] = [];
  for (const name of SECTIONS) if (only.includes(name)) sections.push(await load(name));
  let broken = 0;
  for (const section of sections) {
    const measured = await runSection(section, options);
    archive.put(section.name, measured);
    // Piece by piece: what was measured is not lost to an error in a later section.
    await archive.save();
    broken += measured.report.checks.filter((check) => !holds(check)).length;
  }
  const text = markdownOf(archive.inOrder(SECTIONS));
  await archive.saveText(text);
  if (path === null) process.stdout.write(text);
  else say(`written: ${path}.md, ${path}.json`);
  if (broken > 0) say(`${broken} of the limits do not hold`);
  return smoke && broken > 0 ? EXIT.floor : EXIT.ok;
}

async function runSection(section: Section, options: BenchOptions): Promise<Measured> {
  const { pairs, smoke } = options;
  const began = performance.now();
  say(`== ${section.name}`);
  const report = await section.run(options);
  const seconds = (performance.now() - began) / 1000;
  say(`== ${section.name} took ${seconds.toFixed(0)} s`);
  const machine = await describeMachine();
  return { date: new Date().toISOString(), machine, seconds, pairs, smoke, report };
}

function sizesOf(flags: Flags): BenchOptions["sizes"] {
  const given = Object.keys(SIZES).filter((name) => flags[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, flags[name] as readonly number[]]));
}

/** The one export of the section's file that is a section. */
async function load(name: string): Promise<Section> {
  const file = `./sections/${name}.ts`;
  const exported: Readonly<Record<string, unknown>> = await import(file);
  const section = Object.values(exported).find(isSection);
  if (section === undefined) throw new Error(`${file} exports no section`);
  return section;
}

function isSection(value: unknown): value is Section {
  return typeof value === "object" && value !== null && "name" in value && "run" in value;
}

function sectionNames(text: string): string[] {
  const names = text.split(",");
  const unknown = names.find((name) => !SECTIONS.includes(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`no section ${unknown}.`);
  return names;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(Number.isInteger(value) && value > 0)) throw new InvalidArgumentError("not a count.");
  return value;
}

function numbers(text: string): number[] {
  return text.split(",").map(positive);
}

process.on("SIGINT", onSignal);
process.on("SIGTERM", onSignal);
try {
  process.exitCode = await bench(program().parse().opts<Flags>());
} catch (error) {
  process.exitCode = stop.signal.aborted ? EXIT.interrupted : EXIT.broken;
  if (!stop.signal.aborted) say(error instanceof Error ? (error.stack ?? "") : String(error));
}
// Whatever still holds a handle must not keep a measured process alive.
process.exit();
