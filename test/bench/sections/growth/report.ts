// The figures of the growth section.

import type { Check, SectionReport, Table } from "../../support/section.ts";
import { median, ratioOfPairs } from "../../support/stats.ts";
import type { Round } from "./subject.ts";

/** One size in one shape. */
export interface Figure {
  readonly builds: number;
  /** Nanoseconds of Firstlight's CPU per change, by round. */
  readonly costs: readonly number[];
  /** The same for news alone, once. */
  readonly news: number;
  /** Bytes resident of the process that read the tables, … */
  readonly afterBaseline: number;
  /** … of one that was started on its store, … */
  readonly restarted: number;
  /** … and of the latter after it has followed all rounds. */
  readonly followed: number;
}

export interface Findings {
  /** With the default labels of the agents' histogram. */
  readonly four: readonly Figure[];
  /** Without families that have a series for each workspace: as many series on each deployment. */
  readonly few: readonly Figure[];
  /** The same, in the shape of older releases. */
  readonly older: readonly Figure[];
  readonly round: Round;
  readonly smoke: boolean;
}

const PROMISED = { cost: 1.1, memory: 1.15 };
/** For one short round of small sizes: what only a mistake would exceed. */
const LOOSE = { cost: 3, memory: 1.4 };
const MEBIBYTE = 1 << 20;

export function reportOf(findings: Findings): SectionReport {
  const { four, few, older, round } = findings;
  return {
    title: "Growth",
    about: `Deployments that differ in how much history they have. Each round writes ${round.heartbeats} heartbeats (with those of jobs and commits on unwatched
tables) and ${round.workflows} workspaces that are created, built and connected to (a build for each 3,500 heartbeats, as in a large deployment), as fast
as the server takes them, for one process after the other; all of them run. CPU is the process' own, from before the first change until all are
shown; a round of each goes before, uncounted. At the end come many new workspaces alone: each is some facts in a ledger that is larger
where there is more history, and that is where its size is to be seen.`,
    tables: [
      tableOf("As by default", four),
      tableOf("Without a series for each workspace", few),
      tableOf(
        "Without a series for each workspace, and with an agent that never connects on every stop",
        older,
      ),
    ].filter(({ rows }) => rows.length > 0),
    checks: checksOf(findings),
    notes: [
      "Resident memory under Node's default flags: the median of several samples some seconds after the last change. The collector gives back " +
        "what a baseline or a burst needed late or never, so the process that read the tables is shown apart from one started on its store.",
      "By default every workspace has some series of its own, which take memory and are not history: the memory that is checked is that of " +
        "two labels (template_name, agent_name) in the agents' histogram, and without the families that name a workspace or its owner.",
      "Without them the process after the baseline is one that folded its ledger again, except in the last table.",
    ],
  };
}

function checksOf({ four, few, older, smoke }: Findings): readonly Check[] {
  const { cost, memory } = smoke ? LOOSE : PROMISED;
  return [
    { claim: "CPU per change", value: costRatio(four), limit: cost },
    { claim: "CPU per change, with older agents", value: costRatio(older), limit: cost },
    { claim: "resident memory", value: memoryRatio(few), limit: memory },
    { claim: "resident memory, with older agents", value: memoryRatio(older), limit: memory },
  ]
    .filter(({ claim }) => !smoke || claim.includes("older"))
    .map(({ claim, ...check }) => ({ claim: `${claim}: most history / least`, ...check }));
}

/** Of the largest size over the smallest. */
function costRatio(figures: readonly Figure[]): number {
  return ratioOfPairs(figures.at(-1)?.costs ?? [], figures[0]?.costs ?? []).median;
}

function memoryRatio(figures: readonly Figure[]): number {
  return (figures.at(-1)?.followed ?? Number.NaN) / (figures[0]?.followed ?? Number.NaN);
}

function tableOf(caption: string, figures: readonly Figure[]): Table {
  return {
    caption,
    head: [
      "builds",
      "µs per change",
      "lowest",
      "highest",
      "rounds",
      "µs per change of new workspaces",
      "MiB after the baseline",
      "MiB after a restart",
      "MiB after the rounds",
    ],
    rows: figures.map(({ builds, costs, news, afterBaseline, restarted, followed }) => [
      builds,
      median(costs) / 1_000,
      Math.min(...costs) / 1_000,
      Math.max(...costs) / 1_000,
      costs.length,
      news / 1_000,
      afterBaseline / MEBIBYTE,
      restarted / MEBIBYTE,
      followed / MEBIBYTE,
    ]),
  };
}
