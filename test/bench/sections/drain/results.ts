// What the drained backlog says: who is how fast, at what cost, and whether the promises hold.

import { median, ratioOfPairs } from "../../support/stats.ts";
import type { Check, SectionReport, Table } from "../../support/section.ts";
import type { Backlog } from "./backlog.ts";
import type { Contestant, Drained } from "./contestants.ts";

export interface Roles {
  readonly ours: Contestant;
  /** The stock plugin on the same publication. */
  readonly stock: Contestant;
  /** Who does nothing but read; the fastest one is what we are held against. */
  readonly fastest: readonly Contestant[];
}

export interface ReportOptions {
  readonly backlog: Backlog;
  readonly runs: ReadonlyMap<Contestant, readonly Drained[]>;
  readonly roles: Roles;
  readonly smoke: boolean;
  readonly notes: readonly string[];
}

export function drainReport(options: ReportOptions): SectionReport {
  const { backlog, notes } = options;
  return {
    title: "Draining a backlog",
    about: ABOUT,
    tables: [table(options)],
    checks: checks(options),
    notes: [
      `The backlog: ${backlog.heartbeats.toLocaleString("en-US")} heartbeats in ${Math.round(backlog.bytes / 2 ** 20)} MiB of WAL.`,
      ...notes,
    ],
  };
}

const HEAD = [
  "reader",
  "heartbeats/s",
  "with start of the process",
  "client µs per heartbeat",
  "server µs per heartbeat",
  "peak MiB",
  "runs",
];

const ABOUT = `A backlog of heartbeats (each a transaction; per heartbeat 0.3 job heartbeats and 0.5 commits on a table that nobody
publishes), written at once, with the server's running transactions logged as often as at 6,667 heartbeats/s. Every reader drains
the same WAL from a copy of one slot, in turns. Firstlight runs as it comes and commits durably; a run is timed from its log line
\`following\`, or from where the server begins to send, until the last transaction is counted or read. All read column lists unless
it says whole tables. CPU is from the kernel: of the process with all its threads, and of the server processes of its role.`;

function table({ runs, backlog, roles }: ReportOptions): Table {
  const { heartbeats } = backlog;
  const rows = [...runs].map(([contestant, drained]) => {
    const middle = (figure: (run: Drained) => number): number => median(drained.map(figure));
    const start = middle(({ withStartMs = Number.NaN }) => withStartMs);
    return [
      contestant === roles.ours ? `**${contestant.name}**` : contestant.name,
      (heartbeats / middle(({ ms }) => ms)) * 1000,
      Number.isNaN(start) ? "" : (heartbeats / start) * 1000,
      middle(({ clientUs }) => clientUs) / heartbeats,
      middle(({ serverUs }) => serverUs) / heartbeats,
      middle(({ peak }) => peak) / 2 ** 20,
      drained.length,
    ];
  });
  return { caption: "Medians", head: HEAD, rows };
}

const speed = ({ ms }: Drained): number => 1 / ms;
const client = ({ clientUs }: Drained): number => clientUs;

function checks({ runs, roles, smoke }: ReportOptions): Check[] {
  const of = (contestant: Contestant, figure: (run: Drained) => number): number[] =>
    (runs.get(contestant) ?? []).map(figure);
  const [fastest] = roles.fastest.toSorted((a, b) => median(of(b, speed)) - median(of(a, speed)));
  if (fastest === undefined) return [];
  const rate = ratioOfPairs(of(roles.ours, speed), of(fastest, speed));
  const cost = ratioOfPairs(of(roles.ours, client), of(roles.stock, client));
  return [
    {
      claim: `drain rate, of the fastest other reader's (${fastest.name})${smoke ? "" : ": lower 95 % bound"}`,
      value: smoke ? rate.median : rate.lower,
      limit: smoke ? 0.3 : 0.9,
      atLeast: true,
    },
    {
      claim:
        "client CPU per heartbeat while draining, of the stock plugin's on the same publication",
      value: cost.median,
      limit: smoke ? 1.2 : 0.6,
    },
  ];
}
