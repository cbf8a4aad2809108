// The figures of scrapes as tables and promises.

import type { Check, SectionReport, Table } from "../../support/section.ts";
import { median, ratioOfPairs } from "../../support/stats.ts";
import { type Figures, type Growth, type Pairs, SITUATIONS, type Situation } from "./measure.ts";
import type { Scraped } from "./subject.ts";

const MEGABYTE = 1e6;
/** Promised from this size on: below it, what a request costs in itself is most of it. */
const PROMISED_FROM = 10_000;
const EIGHTH = 1 / 8;
const LONGEST_SLICE_MS = 10;
const LOOSE = { ratio: 1, sliceMs: 100 };

const cpu = (scrapes: readonly Scraped[]): number[] => scrapes.map((scrape) => scrape.cpu);
const ratio = ({ ours, theirs }: Pairs): ReturnType<typeof ratioOfPairs> =>
  ratioOfPairs(cpu(ours), cpu(theirs));
const count = (workspaces: number): string => workspaces.toLocaleString("en-US");

export function reportOf(all: readonly Figures[], smoke: boolean): SectionReport {
  return {
    title: "Scrapes",
    about: `A four-label histogram with 9 buckets for each workspace, served by Firstlight's own HTTP server and by prom-client's
\`registry.metrics()\` on plain \`node:http\`, each in a process of its own with the same data, scraped in turns. CPU is the
exporter's process, all threads, as the scheduler counts it, until 150 ms after the last byte. Both are warm: scraped 10 times before
(1 time at 100,000).`,
    tables: [cpuTable(all), growthTable(all), slicesTable(all), busyTable(all)],
    checks: checksOf(all, smoke),
    notes: [
      "prom-client has no gzip; beside ours stands its text compressed by `node:zlib` at the same level, off the main thread. *Kept*: no page has changed since the last scrape; *after 100 facts*: the pages of 100 workspaces, spread over all, have; *nothing kept*: every page has, as after a start.",
      "The longest slice is the longest time for which nothing else in the process could run, in CPU time of its main thread, median of the scrapes; by the clock it has in it what the neighbours of a shared machine took.",
      "While facts arrive: 200 a second in two commits, spread over all workspaces; their own CPU, and the garbage of the pages that they replace, is in the figures.",
    ],
  };
}

function cpuTable(all: readonly Figures[]): Table {
  return {
    caption: "CPU of one scrape, in ms (medians)",
    head: [
      "workspaces",
      "text, MB",
      "prom-client",
      "Firstlight",
      "ratio",
      "95 % below",
      "gzip, MB",
      "prom-client, gzip",
      "Firstlight, kept",
      "ratio",
      "after 100 facts",
      "nothing kept",
    ],
    rows: all.map(({ workspaces, text, gzip }) => [
      workspaces,
      (text.ours[0]?.bytes ?? 0) / MEGABYTE,
      median(cpu(text.theirs)),
      median(cpu(text.ours)),
      ratio(text).median,
      ratio(text).upper,
      (gzip.ours[0]?.bytes ?? 0) / MEGABYTE,
      median(cpu(gzip.theirs)),
      median(cpu(gzip.ours)),
      ratio(gzip).median,
      median(cpu(gzip.changed)),
      median(cpu(gzip.cold)),
    ]),
  };
}

function growthTable(all: readonly Figures[]): Table {
  return {
    caption: "The most memory above that before the first scrape, in MB",
    head: [
      "workspaces",
      "prom-client",
      "Firstlight",
      "ratio",
      "prom-client, with gzip",
      "Firstlight, with gzip",
    ],
    rows: all.map(({ workspaces, growth: { text, gzip } }) => [
      workspaces,
      text.theirs / MEGABYTE,
      text.ours / MEGABYTE,
      grown(text),
      gzip.theirs / MEGABYTE,
      gzip.ours / MEGABYTE,
    ]),
  };
}

const grown = ({ ours, theirs }: Growth): number => ours / theirs;

function slicesTable(all: readonly Figures[]): Table {
  return {
    caption: "Longest slice of a scrape, in ms",
    head: ["workspaces", "", "CPU, median", "CPU, most", "clock, median", "clock, most"],
    rows: all.flatMap(({ workspaces, slices }) =>
      SITUATIONS.map((situation) => {
        const { cpu: used, wall } = slices[situation];
        return [
          workspaces,
          situation,
          median(used),
          Math.max(...used),
          median(wall),
          Math.max(...wall),
        ];
      }),
    ),
  };
}

/** By the clock, and CPU: medians. */
const both = (scrapes: readonly Scraped[]): number[] => [
  median(scrapes.map(({ ms }) => ms)),
  median(cpu(scrapes)),
];

function busyTable(all: readonly Figures[]): Table {
  return {
    caption:
      "Two scrapers at once while facts arrive: until both have their page, and CPU, in ms (medians)",
    head: ["workspaces", "text, clock", "text, CPU", "gzip, clock", "gzip, CPU"],
    rows: all.map(({ workspaces, busy }) => [
      workspaces,
      ...both(busy.identity),
      ...both(busy.gzip),
    ]),
  };
}

function checksOf(all: readonly Figures[], smoke: boolean): Check[] {
  const promised = all.filter(({ workspaces }) => smoke || workspaces >= PROMISED_FROM);
  const limit = smoke ? LOOSE.ratio : EIGHTH;
  const checks = promised.flatMap(({ workspaces, text, gzip, growth }): Check[] => [
    {
      claim: `CPU of a scrape of ${count(workspaces)} histograms, of prom-client's`,
      value: ratio(text).median,
      limit,
    },
    {
      claim: `CPU of a scrape of ${count(workspaces)} unchanged histograms as gzip, of prom-client's with gzip`,
      value: ratio(gzip).median,
      limit,
    },
    {
      claim: `growth of memory by scrapes of ${count(workspaces)} histograms, of prom-client's`,
      value: grown(growth.text),
      limit,
    },
  ]);
  const largest = all.at(-1);
  if (!largest) return checks;
  const ours: readonly Situation[] = SITUATIONS.filter((name) => !name.startsWith("prom-client"));
  checks.push({
    claim: `longest slice of a scrape of ${count(largest.workspaces)} histograms, with gzip or without, in ms of CPU`,
    value: Math.max(...ours.map((situation) => median(largest.slices[situation].cpu))),
    limit: smoke ? LOOSE.sliceMs : LONGEST_SLICE_MS,
  });
  return checks;
}
