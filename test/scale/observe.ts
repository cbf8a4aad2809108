// What a baseline costs, seen from outside: memory, time by its own log, and how long others wait for an answer meanwhile.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { AGENTS, BUILDS, READING_SETTINGS } from "../../src/postgres/tables.ts";
import { must } from "../../src/errors.ts";
import type { Firstlight } from "../support/firstlight.ts";

const ASK_EVERY_MS = 50;

/** VmHWM of proc(5): the most memory that was resident at any time, in MiB. */
export function peakMebibytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
}

/** Seconds that the server alone takes for what a baseline reads. */
export async function copySeconds(client: pg.Client, settings = READING_SETTINGS): Promise<number> {
  await client.query("begin");
  await client.query(settings);
  const began = performance.now();
  for (const query of [BUILDS, AGENTS]) await client.query(`copy (${query}) to '/dev/null'`);
  const ended = performance.now();
  await client.query("commit");
  return (ended - began) / 1000;
}

/** Seconds from the first line with this message to the last one with that. */
export function secondsBetween(log: readonly string[], first: string, last: string): number {
  const from = log.find((line) => line.includes(first));
  const to = log.findLast((line) => line.includes(last));
  return (timeOf(last, to) - timeOf(first, from)) / 1000;
}

function timeOf(message: string, line: string | undefined): number {
  const { time } = JSON.parse(must(line, `nothing was logged of: ${message}`)) as { time: string };
  return Date.parse(time);
}

export interface Asked {
  /** The slowest answer of /livez, in milliseconds. */
  readonly slowestMs: number;
  readonly answers: number;
  /** The states that /api/status told, in order. */
  readonly states: readonly string[];
  /** The most rows that a scrape told of, by table. */
  readonly rows: Readonly<Record<string, number>>;
}

/** Asks all endpoints over and over until the condition holds. */
export async function askUntil(firstlight: Firstlight, done: () => boolean): Promise<Asked> {
  let slowestMs = 0;
  let answers = 0;
  const states: string[] = [];
  const rows: Record<string, number> = {};
  for (; !done(); answers += 1) {
    const began = performance.now();
    await (await firstlight.get("/livez")).text();
    slowestMs = Math.max(slowestMs, performance.now() - began);
    if (answers % 5 === 0) {
      const { state } = (await (await firstlight.get("/api/status")).json()) as { state: string };
      if (states.at(-1) !== state) states.push(state);
    }
    if (answers % 10 === 0) {
      const { series, hasTotals } = await firstlight.scrape();
      if (hasTotals) break;
      for (const table of ["workspace_builds", "workspace_agents"])
        rows[table] = series.get(`firstlight_baseline_rows{table="${table}"}`) ?? rows[table] ?? 0;
    }
    await sleep(ASK_EVERY_MS);
  }
  return { slowestMs: Math.round(slowestMs), answers, states, rows };
}
