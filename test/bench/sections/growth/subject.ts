// One Firstlight on one deployment: begun from the tables, started again on its store, and given changes to follow.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { must } from "../../../../src/errors.ts";
import { type Lsn, ZERO_LSN, parseLsn } from "../../../../src/lsn.ts";
import { type Process, startProcess } from "../../../support/firstlight.ts";
import { cpuOf, memoryOf } from "../../support/cpu.ts";
import { startLoad } from "../../support/load.ts";
import { median } from "../../support/stats.ts";
import type { Deployment } from "../deployments.ts";

const WORKFLOWS = new URL("workflows.sql", import.meta.url);
/** Of the followed tables, by workflows.sql and load.sql. */
const CHANGES_PER_WORKFLOW = 12;
const CHANGES_PER_HEARTBEAT = 1.3;
const DEADLINE_MS = 180_000;
/** A question costs what some hundred changes cost. */
const LOOK_EVERY_MS = 250;
/** Shorter than the pause between two bursts. */
const NAP_MS = 2_000;
const SAMPLES = 7;

export interface SubjectOptions {
  readonly deployment: Deployment;
  readonly url: string;
  readonly slot: string;
  /** Of its store. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

export interface Round {
  readonly heartbeats: number;
  readonly workflows: number;
}

/** Disposing ends the process and drops its slot. */
export class Subject implements AsyncDisposable {
  readonly builds: number;
  readonly #options: SubjectOptions;
  #process: Process | null = null;

  constructor(options: SubjectOptions) {
    this.builds = options.deployment.builds;
    this.#options = options;
  }

  /** Starts it, again if it ran; resolves when it has caught up. */
  async start(env: Readonly<Record<string, string>>): Promise<void> {
    await this.#process?.terminate();
    const { url, slot, folder } = this.#options;
    const statePath = join(folder, `${slot}.db`);
    // Empty: as by default, where tests read much more often.
    const asItComes = { FIRSTLIGHT_READ_EVERY: "" };
    this.#process = await startProcess({ url, slot, statePath, env: { ...asItComes, ...env } });
    await this.#caughtUp();
  }

  /** The process' CPU for what these writers wrote, over the number of their changes, in nanoseconds. */
  async follow({ heartbeats, workflows }: Round): Promise<number> {
    const { deployment } = this.#options;
    const client = await deployment.bed.connect();
    await client.query(`set bench.count = ${workflows}`);
    const text = await readFile(WORKFLOWS, "utf8");
    const before = cpuOf(this.#pid);
    await using load =
      heartbeats > 0 ? await startLoad(deployment.bed, { rate: null, count: heartbeats }) : null;
    await client.query(text);
    await load?.ended;
    await client.end();
    await sleep(NAP_MS, undefined, { signal: this.#options.signal });
    await this.#caughtUp();
    const changes = heartbeats * CHANGES_PER_HEARTBEAT + workflows * CHANGES_PER_WORKFLOW;
    return (cpuOf(this.#pid) - before) / changes;
  }

  /** Resident memory in bytes, some seconds after the last change. */
  async settled(): Promise<number> {
    const samples: number[] = [];
    for (let i = 0; i < SAMPLES; i += 1) {
      await sleep(LOOK_EVERY_MS, undefined, { signal: this.#options.signal });
      samples.push(memoryOf(this.#pid).rss);
    }
    return median(samples);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.terminate();
    await this.#options.deployment.bed.dropSlot(this.#options.slot);
  }

  get #pid(): number {
    return this.#process?.pid ?? 0;
  }

  async #caughtUp(): Promise<void> {
    const { deployment, signal } = this.#options;
    const target = await deployment.bed.position();
    const deadline = performance.now() + DEADLINE_MS;
    while ((await this.#applied()) < target) {
      if (performance.now() > deadline) throw new Error(`not caught up:\n${this.#words()}`);
      await sleep(LOOK_EVERY_MS, undefined, { signal });
    }
  }

  async #applied(): Promise<Lsn> {
    const running = must(this.#process, "not started");
    try {
      const answer = await running.get("/api/status");
      const { applied } = (await answer.json()) as { applied: string | null };
      return applied === null ? ZERO_LSN : parseLsn(applied);
    } catch (cause) {
      // While a ledger is folded again for other labels, nothing is answered and connections are reset.
      const exit = await Promise.race([running.exit, sleep(LOOK_EVERY_MS, "running")]);
      if (exit === "running") return ZERO_LSN;
      throw new Error(`Firstlight ended with ${String(exit)}:\n${this.#words()}`, { cause });
    }
  }

  #words(): string {
    return this.#process?.log.slice(-20).join("\n") ?? "";
  }
}
