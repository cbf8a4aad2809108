// What every competitor's script shares: its options, and lines of JSON on standard output that say how far it is.

import { type Lsn, ZERO_LSN, formatLsn, parseLsn } from "../../../src/lsn.ts";

export interface FollowerOptions {
  readonly url: string;
  readonly slot: string;
  readonly publication: string;
  /** Say `reached` with the first commit that ends behind this position. */
  readonly target?: string;
  /** Let the socket rest so long after each read of less than 32 kB. */
  readonly pauseMs?: number;
}

/** A line that a script prints. Times and CPU are the script's own, since its `began`. */
export type Told =
  | { readonly told: "began" }
  /** The answer to a line on standard input: where the last transaction ends that was read. */
  | { readonly told: "at"; readonly lsn: string }
  | {
      readonly told: "reached";
      readonly ms: number;
      readonly cpuUs: number;
    };

export class Progress {
  readonly options: FollowerOptions;
  readonly #target: Lsn | null;
  #beganAt = 0;
  #cpu = process.cpuUsage();
  #end: Lsn = ZERO_LSN;
  #reached = false;

  constructor() {
    this.options = JSON.parse(process.argv[2] ?? "{}");
    this.#target = this.options.target === undefined ? null : parseLsn(this.options.target);
    // Whoever started us is gone.
    process.stdin.on("end", () => process.exit());
    process.stdin.on("data", () => say({ told: "at", lsn: formatLsn(this.#end) }));
  }

  /** The server has begun to send. */
  began(): void {
    this.#beganAt = performance.now();
    this.#cpu = process.cpuUsage();
    say({ told: "began" });
  }

  /** A transaction is read; `end` is where it ends. */
  commit(end: Lsn): void {
    this.#end = end;
    if (this.#reached || this.#target === null || end <= this.#target) return;
    this.#reached = true;
    const { user, system } = process.cpuUsage(this.#cpu);
    say({
      told: "reached",
      ms: performance.now() - this.#beganAt,
      cpuUs: user + system,
    });
  }
}

function say(told: Told): void {
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
