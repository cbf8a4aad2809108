// What the runs under steady load gave, and what they say together.

import { median, percentile, ratioOfPairs } from "../../support/stats.ts";
import type { BenchOptions, Check, SectionReport, Table } from "../../support/section.ts";
import type { Subject, Subjects } from "./subjects.ts";
import type { Figures } from "./window.ts";

/** What is promised against the stock plugin, by rate: the most that ours may be of theirs. */
export const PROMISES: ReadonlyMap<number, { readonly server: number; readonly client: number }> =
  new Map([
    [667, { server: 1 / 3, client: 1 / 4 }],
    [6_667, { server: 1 / 2, client: 1 / 3 }],
  ]);
/** What even a few seconds on a busy machine must show. */
const LOOSE = { server: 0.8, client: 0.8 };
const KEPT_UP = 0.9;
const VISIBLE_BEYOND_MS = 500;
const LOOSE_VISIBLE_BEYOND_MS = 2_000;

export class Results {
  readonly #subjects: Subjects;
  readonly #figures = new Map<string, Figures[]>();
  readonly #delays = new Map<string, number[]>();
  readonly #rates = new Set<number>();

  constructor(subjects: Subjects) {
    this.#subjects = subjects;
  }

  add(run: { readonly rate: number; readonly subject: Subject; readonly figures: Figures }): void {
    this.#rates.add(run.rate);
    listOf(this.#figures, keyOf(run)).push(run.figures);
  }

  addDelays(run: {
    readonly rate: number;
    readonly subject: Subject;
    readonly delays: readonly number[];
  }): void {
    listOf(this.#delays, keyOf(run)).push(...run.delays);
  }

  report({ smoke }: BenchOptions): SectionReport {
    const rates = [...this.#rates];
    return {
      title: "Steady load",
      about: ABOUT,
      tables: rates.map((rate) => this.#table(rate)),
      checks: rates.flatMap((rate) => this.#checks(rate, smoke)),
      notes: rates.flatMap((rate) => this.#shortfall(rate)),
    };
  }

  #table(rate: number): Table {
    const { ours, stock, bursts, streams } = this.#subjects;
    const theirs = this.#of(rate, stock);
    const rows = [stock, ours, ...bursts, ...streams].flatMap((subject) => {
      const runs = this.#of(rate, subject);
      if (runs.length === 0) return [];
      const server = median(runs.map(({ serverUs }) => serverUs));
      const client = median(runs.map(({ clientUs }) => clientUs));
      const delays = this.#delays.get(keyOf({ rate, subject })) ?? [];
      return [
        [
          subject === ours ? `**${subject.name} (default)**` : subject.name,
          server,
          client,
          server / median(theirs.map(({ serverUs }) => serverUs)),
          client / median(theirs.map(({ clientUs }) => clientUs)),
          ...(delays.length > 0
            ? [percentile(delays, 0.5), percentile(delays, 0.99), percentile(delays, 1)]
            : ["", "", ""]),
          median(runs.map(({ perSecond }) => perSecond)),
          runs.length,
        ],
      ];
    });
    return { caption: `${rate} heartbeats/s`, head: HEAD, rows };
  }

  #checks(rate: number, smoke: boolean): Check[] {
    const { ours, stock } = this.#subjects;
    const promise = smoke ? LOOSE : PROMISES.get(rate);
    const [mine, theirs] = [this.#of(rate, ours), this.#of(rate, stock)];
    const ratio = (figure: (figures: Figures) => number): number =>
      ratioOfPairs(mine.map(figure), theirs.map(figure)).median;
    const beyond = smoke ? LOOSE_VISIBLE_BEYOND_MS : VISIBLE_BEYOND_MS;
    const ratios: Check[] =
      promise === undefined
        ? []
        : [
            {
              claim: `database CPU per heartbeat at ${rate}/s, of the stock plugin's`,
              value: ratio(({ serverUs }) => serverUs),
              limit: promise.server,
            },
            {
              claim: `client CPU per heartbeat at ${rate}/s, of the stock plugin's`,
              value: ratio(({ clientUs }) => clientUs),
              limit: promise.client,
            },
          ];
    const visible: Check = {
      claim: `commit to visible at ${rate}/s, 99th percentile in ms`,
      value: percentile(this.#delays.get(keyOf({ rate, subject: ours })) ?? [], 0.99),
      limit: ours.everyMs + beyond,
    };
    return [...ratios, visible];
  }

  #shortfall(rate: number): string[] {
    const { ours, stock } = this.#subjects;
    const runs = [...this.#of(rate, ours), ...this.#of(rate, stock)];
    const reached = median(runs.map(({ perSecond }) => perSecond));
    if (reached > KEPT_UP * rate) return [];
    return [`The machine could not write ${rate} heartbeats/s: it wrote ${Math.round(reached)}.`];
  }

  #of(rate: number, subject: Subject): readonly Figures[] {
    return this.#figures.get(keyOf({ rate, subject })) ?? [];
  }
}

const HEAD = [
  "reader",
  "database µs per heartbeat",
  "client µs per heartbeat",
  "database, of stock",
  "client, of stock",
  "visible after, ms: p50",
  "p99",
  "max",
  "heartbeats/s",
  "runs",
];

const ABOUT = `CPU time per heartbeat (an UPDATE of one connected agent in a transaction of its own), from the kernel's scheduler
statistics: of the server processes of the reader's own role, and of the reader's process with all its threads. Per heartbeat
come 0.3 heartbeats of running provisioner jobs and 0.5 commits on a table that nobody publishes. Readers take turns at one
load that goes on, Firstlight with other pauses than by default all at once; the time to connect and to catch up is not
counted. A window is 15 s where bursts are read, because each burst decodes again from the server's last record of its running
transactions, which comes every 15 s; 3 s where a stream is read. Commit to visible is measured apart from CPU, by probes at random
moments until \`applied\` of Firstlight's status shows them. fsync is off on the server, synchronous_commit on; Firstlight's own
commits are durable.`;

function keyOf({ rate, subject }: { readonly rate: number; readonly subject: Subject }): string {
  return `${rate} ${subject.name}`;
}

function listOf<T>(lists: Map<string, T[]>, key: string): T[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}
