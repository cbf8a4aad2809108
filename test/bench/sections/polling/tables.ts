// The figures of the polling section, per hour and side by side.

import type { Check, Table } from "../../support/section.ts";
import type { Exported } from "./exporter.ts";
import type { Query } from "./queries.ts";
import type { Written } from "./wal.ts";

/** One size of deployment. CPU in nanoseconds. */
export interface Measured {
  readonly builds: number;
  readonly agents: number;
  /** Heartbeats per second: due, and written. */
  readonly rate: number;
  readonly reached: number;
  /** Firstlight's per heartbeat, of the database and of its own; the median. */
  readonly server: number;
  readonly client: number;
  /** The dearest round over the cheapest. */
  readonly spread: number;
  /** Of one poll, by query. */
  readonly polls: readonly number[];
  /** One run of them by prometheus-sql-exporter; null when it is not installed. */
  readonly exported: Exported | null;
}

const POLLS_PER_HOUR = 60;
const SECOND_NS = 1e9;
const REPLICAS = 3;
const PROMISED = 1 / 4;
/** For small deployments, where polling is cheap and a burst costs what it costs: what only a mistake would exceed. */
const LOOSE = 10;
/** Sizes for which the project promises something. */
const PROMISED_BUILDS = [100_000, 1_000_000];

function followed({ server, rate }: Measured): number {
  return (server * rate * 3_600) / SECOND_NS;
}

function polled({ polls }: Measured): number {
  return (sum(polls) * POLLS_PER_HOUR) / SECOND_NS;
}

function exported({ exported: once }: Measured): number | string {
  return once === null ? "not installed" : (once.serverCpu * POLLS_PER_HOUR) / SECOND_NS;
}

export function checksOf(measured: readonly Measured[], smoke: boolean): readonly Check[] {
  return measured
    .filter(({ builds }) => smoke || PROMISED_BUILDS.includes(builds))
    .map((one) => ({
      claim: `database CPU with ${one.agents} agents and ${one.builds} builds: Firstlight / ${REPLICAS} replicas that poll`,
      value: followed(one) / (polled(one) * REPLICAS),
      limit: smoke ? LOOSE : PROMISED,
    }));
}

export function tablesOf(
  measured: readonly Measured[],
  queries: readonly Query[],
  wal: readonly Written[],
): readonly Table[] {
  return [
    hourly(measured, queries),
    byQuery(measured, queries),
    perHeartbeat(measured),
    ofWal(wal),
  ];
}

function hourly(measured: readonly Measured[], queries: readonly Query[]): Table {
  return {
    caption: "Seconds of database CPU per hour",
    head: [
      "builds",
      "agents",
      "polled by 1 replica",
      `by ${REPLICAS} replicas`,
      `by ${REPLICAS}, only what Firstlight tells too`,
      "by prometheus-sql-exporter",
      "Firstlight",
      `Firstlight / ${REPLICAS} replicas`,
      "Firstlight / 1 replica",
      `Firstlight / ${REPLICAS}, only what it tells too`,
    ],
    rows: measured.map((one) => {
      const some = { ...one, polls: one.polls.filter((_, i) => queries[i]?.replaced === true) };
      return [
        one.builds,
        one.agents,
        polled(one),
        polled(one) * REPLICAS,
        polled(some) * REPLICAS,
        exported(one),
        followed(one),
        followed(one) / (polled(one) * REPLICAS),
        followed(one) / polled(one),
        followed(one) / (polled(some) * REPLICAS),
      ];
    }),
  };
}

function byQuery(measured: readonly Measured[], queries: readonly Query[]): Table {
  return {
    caption: "Milliseconds of database CPU per query of a poll",
    head: ["query", "feeds", ...measured.map(({ builds }) => `${builds} builds`)],
    rows: queries.map(({ name, feeds }, i) => [
      name,
      feeds,
      ...measured.map(({ polls }) => (polls[i] ?? 0) / 1e6),
    ]),
  };
}

function perHeartbeat(measured: readonly Measured[]): Table {
  return {
    caption: "Firstlight under the heartbeats of all agents: microseconds of CPU per heartbeat",
    head: [
      "builds",
      "heartbeats per second",
      "written",
      "of the database",
      "dearest / cheapest round",
      "of Firstlight",
      "Firstlight's seconds per hour",
    ],
    rows: measured.map(({ builds, rate, reached, server, spread, client }) => [
      builds,
      rate,
      reached,
      server / 1_000,
      spread,
      client / 1_000,
      (client * rate * 3_600) / SECOND_NS,
    ]),
  };
}

function ofWal(wal: readonly Written[]): Table {
  return {
    caption: "Bytes of WAL per heartbeat",
    head: ["wal_level", "agent", "provisioner job"],
    rows: wal.map(({ walLevel, bytes }) => [walLevel, bytes.agents, bytes.jobs]),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
