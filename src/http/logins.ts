// Basic auth: who may ask. Comparisons run one at a time in a thread of their own; those that succeeded are remembered.

import { createHmac, randomBytes } from "node:crypto";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";

/** Comparisons that may be due at once; more are guesses, or will be asked again. */
const MAX_WAITING = 8;
/** Logins to remember. */
const MAX_KNOWN = 100;
const IDLE_MS = 10_000;

export interface Login {
  readonly user: string;
  readonly password: string;
}

/** bcrypt hashes by user. */
export type Users = ReadonlyMap<string, string>;

export class Logins implements Disposable {
  /** Remembered logins are keyed digests: a dump of our memory holds no password, and none can be looked up in a table. */
  readonly #key = randomBytes(32);
  readonly #known = new Set<string>();
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();
  readonly #thread = new CompareThread();

  /**
   * Whether this login is right; `busy`: ask again later. A name that is not there takes as long as one that is: its password
   * is compared with the first user's hash, and what comes of it thrown away.
   */
  async check(users: Users, { user, password }: Login): Promise<"right" | "wrong" | "busy"> {
    const own = users.get(user);
    const [any = ""] = users.values();
    const hash = own ?? any;
    const digest = createHmac("sha256", this.#key)
      .update(JSON.stringify([user, hash, password]))
      .digest("base64");
    if (this.#known.has(digest)) return "right";
    if (this.#waiting >= MAX_WAITING) return "busy";
    this.#waiting += 1;
    const turn = this.#last.then(async () => {
      // Who waited behind the same login need not compare again.
      if (this.#known.has(digest)) return true;
      const right = (await this.#thread.compare(password, hash)) && own !== undefined;
      if (right) this.#remember(digest);
      return right;
    });
    this.#last = turn.catch(() => undefined);
    try {
      return (await turn) ? "right" : "wrong";
    } finally {
      this.#waiting -= 1;
    }
  }

  #remember(digest: string): void {
    const [oldest] = this.#known;
    if (this.#known.size >= MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    this.#known.add(digest);
  }

  [Symbol.dispose](): void {
    this.#thread[Symbol.dispose]();
  }
}

const WORKER = new URL(`./bcrypt-worker${extname(import.meta.url)}`, import.meta.url);

/** Started at the first comparison, ended when there was none for a while. Never keeps the process alive. */
class CompareThread implements Disposable {
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;

  /** One at a time. */
  async compare(password: string, hash: string): Promise<boolean> {
    clearTimeout(this.#idle);
    const worker = (this.#worker ??= this.#start());
    try {
      return await new Promise<boolean>((resolve, reject) => {
        const ended = (): void => reject(new Error("the thread that compares passwords has ended"));
        worker.once("error", reject).once("exit", ended);
        worker.once("message", (right: boolean) => {
          worker.off("error", reject).off("exit", ended);
          resolve(right);
        });
        worker.postMessage({ password, hash }, []);
      });
    } finally {
      this.#idle = setTimeout(() => this[Symbol.dispose](), IDLE_MS).unref();
    }
  }

  #start(): Worker {
    const worker = new Worker(WORKER);
    worker.unref();
    worker.once("exit", () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    return worker;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#idle);
    void this.#worker?.terminate();
    this.#worker = undefined;
  }
}
