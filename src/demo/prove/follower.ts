// `serve` as a process of its own, which is killed without a word and started again, and a scraper that never stops looking at it.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { must } from "../../errors.ts";
import { type Lsn, formatLsn, parseLsn } from "../../lsn.ts";
import { until } from "../waiting.ts";
import { counters, falls } from "./page.ts";

const SCRAPE_EVERY_MS = 200;
const CAUGHT_UP_WITHIN_MS = 60_000;
const LAST_WORDS = 20;

export interface FollowerOptions {
  /** The command to run: what comes before `serve`. */
  readonly main: string;
  /** Its whole environment, FIRSTLIGHT_LISTEN included. */
  readonly env: NodeJS.ProcessEnv;
  readonly port: number;
}

export interface Scraped {
  /** Answered. */
  readonly scrapes: number;
  /** Series that fell, or were gone while others were there: what must not happen. */
  readonly falls: readonly string[];
}

export class Follower implements AsyncDisposable {
  readonly #options: FollowerOptions;
  #child: ChildProcess | null = null;
  #words: string[] = [];
  readonly #done = new AbortController();
  readonly #scraping: Promise<void>;
  #last: ReadonlyMap<string, number> = new Map();
  #scrapes = 0;
  readonly #falls = new Set<string>();

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.start();
    this.#scraping = this.#scrape();
  }

  get scraped(): Scraped {
    return { scrapes: this.#scrapes, falls: [...this.#falls] };
  }

  start(): void {
    const { main, env } = this.#options;
    const child = spawn(process.execPath, [...process.execArgv, main, "serve"], {
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    must(child.stderr, "no stderr pipe")
      .setEncoding("utf8")
      .on("data", (text: string) => {
        this.#words = [...this.#words, text].slice(-LAST_WORDS);
      });
    this.#child = child;
  }

  /** As a crash would end it: nothing is flushed, nothing is said. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** Waits until everything up to here is counted and shown, and gives the page. */
  async caughtUp(target: Lsn): Promise<string> {
    let page = "";
    const shown = async (): Promise<boolean> => {
      if (this.#child?.exitCode != null)
        throw new Error(`serve has ended:\n${this.#words.join("")}`);
      const status = await this.#get("/api/status");
      const { applied } = JSON.parse(status ?? "{}") as { applied?: string | null };
      if (applied == null || parseLsn(applied) < target) return false;
      page = (await this.#get("/metrics")) ?? "";
      return page.includes("firstlight_ready 1");
    };
    await until(`everything up to ${formatLsn(target)} is shown`, shown, CAUGHT_UP_WITHIN_MS).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}\n${this.#words.join("")}`);
      },
    );
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#done.abort();
    await this.#scraping;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  }

  async #scrape(): Promise<void> {
    while (!this.#done.signal.aborted) {
      const next = sleep(SCRAPE_EVERY_MS);
      const page = await this.#get("/metrics");
      if (page !== null) this.#look(page);
      await next;
    }
  }

  #look(page: string): void {
    this.#scrapes += 1;
    const now = counters(page);
    // Before totals are shown there are none at all, which is no fall.
    if (now.size === 0) return;
    for (const fall of falls(this.#last, page)) this.#falls.add(fall);
    this.#last = now;
  }

  async #get(path: string): Promise<string | null> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.#options.port}${path}`, {
        signal: AbortSignal.timeout(5_000),
      });
      return response.ok ? await response.text() : null;
    } catch {
      return null; // nobody listens
    }
  }
}
