// Silence of the server: a query may decode for long without a word, so it is asked about on another connection.

import { Transient } from "../errors.ts";
import { SILENCE_MS, type Session } from "./session.ts";

/**
 * Whether this backend is running a query now, as the session beside it is told; where the server keeps no such record, whether it is
 * there. Throws classed errors.
 */
export async function isRunning(beside: Session, pid: number): Promise<boolean> {
  const [backend] = await beside.query<{ state: string | null }>(
    "select state from pg_catalog.pg_stat_activity where pid = $1",
    [pid],
  );
  return backend !== undefined && backend.state !== "idle";
}

const LOOK_EVERY_MS = 1_000;

export interface SilenceOptions {
  /** On the same server, free whenever an answer is waited for; it gives up by itself when nobody answers. */
  readonly beside: Session;
  /** Of the backend that is to answer. */
  readonly pid: number;
  /** Called with the classed error, once for each wait: the query was lost with its connection, or nobody answers beside it either. */
  readonly onSilent: (error: unknown) => void;
  /** Called each time that the query was found to run on. */
  readonly onRunning?: () => void;
  /** Default: 60 s. */
  readonly silenceMs?: number | undefined;
}

/** Asks after a query whenever its answer was waited for so long, until disposed. */
export class Silence implements Disposable {
  readonly #options: SilenceOptions;
  readonly #timer: NodeJS.Timeout;
  /** Null: nobody waits. */
  #waitingSince: number | null = null;
  /** When a query was last found to run on. */
  #answeredAt = -Infinity;
  #asking = false;

  constructor(options: SilenceOptions) {
    this.#options = options;
    const { silenceMs = SILENCE_MS } = options;
    this.#timer = setInterval(
      () => {
        const since = this.#waitingSince;
        if (since === null || this.#asking) return;
        if (performance.now() - Math.max(since, this.#answeredAt) < silenceMs) return;
        void this.#ask(since);
      },
      Math.min(LOOK_EVERY_MS, silenceMs),
    );
  }

  /** Something came, and more is waited for. */
  waits(): void {
    this.#waitingSince = performance.now();
  }

  /** What came is worked on, for as long as that takes. */
  rests(): void {
    this.#waitingSince = null;
  }

  /** Waits for one answer. */
  async answer<T>(answer: Promise<T>): Promise<T> {
    this.waits();
    try {
      return await answer;
    } finally {
      this.rests();
    }
  }

  async #ask(since: number): Promise<void> {
    const { beside, pid, onSilent, onRunning } = this.#options;
    this.#asking = true;
    const silent = await isRunning(beside, pid).then(
      (runs) => (runs ? null : noWord()),
      (error: unknown) => error,
    );
    this.#asking = false;
    if (silent === null) {
      this.#answeredAt = performance.now();
      onRunning?.();
      return;
    }
    // What came meanwhile had only not been read yet.
    if (this.#waitingSince !== since) return;
    this.rests();
    onSilent(silent);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.rests();
  }
}

function noWord(): Transient {
  return new Transient("the server has gone silent", { reason: "silence" });
}
