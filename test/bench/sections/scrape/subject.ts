// A measured exporter in a process of its own, and scrapes of it.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { must } from "../../../../src/errors.ts";
import { cpuOf, memoryOf } from "../../support/cpu.ts";
import type { Slice } from "./commands.ts";

/** What is left over from a scrape, collecting garbage for instance, belongs to it. */
const SETTLE_MS = 150;
const PEAK_OF_NOW = "5";

export type Exporter = "firstlight" | "prom-client";
export type Encoding = "identity" | "gzip";

export interface Scraped {
  /** On the wire. */
  readonly bytes: number;
  /** Until the last byte had come. */
  readonly ms: number;
  /** Of the exporter's process, in milliseconds. */
  readonly cpu: number;
}

export class Subject implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #port: number;
  #rss = 0;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.#port = port;
  }

  /** Resolves when it listens, with all its data. */
  static async start(
    exporter: Exporter,
    workspaces: number,
    signal: AbortSignal,
  ): Promise<Subject> {
    const file = fileURLToPath(new URL(`${exporter}.ts`, import.meta.url));
    const child = fork(file, [String(workspaces)], { execArgv: ["--expose-gc"], signal });
    // An abort ends the child and is thrown where something is waited for.
    child.on("error", () => undefined);
    return new Subject(child, Number(await answerOf(child)));
  }

  async ask(command: string): Promise<unknown> {
    const answer = answerOf(this.#child);
    this.#child.send(command);
    return answer;
  }

  /** Memory from here on is compared with now. */
  async markMemory(): Promise<void> {
    await this.ask("collect");
    await sleep(SETTLE_MS);
    writeFileSync(`/proc/${this.#pid}/clear_refs`, PEAK_OF_NOW);
    this.#rss = memoryOf(this.#pid).rss;
  }

  /** How much more than at the mark was resident at a time, in bytes. */
  get growth(): number {
    return memoryOf(this.#pid).peak - this.#rss;
  }

  /** One scrape, or so many at once: then the figures are of all of them together. */
  async scrape(encoding: Encoding, scrapers = 1): Promise<Scraped> {
    const before = cpuOf(this.#pid);
    const began = performance.now();
    const bytes = await this.#readAll(encoding, scrapers);
    const ms = performance.now() - began;
    await sleep(SETTLE_MS);
    return { bytes, ms, cpu: (cpuOf(this.#pid) - before) / 1e6 };
  }

  /** The longest time for which nothing else ran during so many scrapes at once. */
  async slice(encoding: Encoding, scrapers = 1): Promise<Slice> {
    await this.ask("watch");
    await this.#readAll(encoding, scrapers);
    return (await this.ask("longest")) as Slice;
  }

  /** The page itself. */
  async text(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.#port}/metrics`)).text();
  }

  get #pid(): number {
    return must(this.#child.pid, "no process");
  }

  async #readAll(encoding: Encoding, scrapers: number): Promise<number> {
    const reads = Array.from({ length: scrapers }, async () => this.#read(encoding));
    return (await Promise.all(reads)).reduce((sum, bytes) => sum + bytes, 0);
  }

  #read(encoding: Encoding): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const options = {
      port: this.#port,
      path: "/metrics",
      agent: false,
      headers: { "Accept-Encoding": encoding },
    };
    get(options, (message) => {
      let bytes = 0;
      message.on("data", (chunk: Buffer) => (bytes += chunk.length));
      message.once("error", reject);
      message.once("end", () => resolve(bytes));
    }).once("error", reject);
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

/** The next message. Rejects when the process ends instead. */
async function answerOf(child: ChildProcess): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const onExit = (): void => reject(new Error("the exporter's process has ended"));
  const onMessage = (message: { result?: unknown }): void => resolve(message.result);
  child.once("exit", onExit);
  child.once("message", onMessage as never);
  try {
    return await promise;
  } finally {
    child.off("exit", onExit);
    child.off("message", onMessage as never);
  }
}
