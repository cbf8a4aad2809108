// The live stream: `pg-logical-replication` made safe, as a source of batches.
//
// What its defaults would do to us, and what is done instead (versions and tries: ARCHITECTURE.md):
// - it acknowledges what it received, on a timer: both off, only `durable` moves the slot;
// - `acknowledge(l)` sends l + 1, one byte into the next commit when two are adjacent, which loses it: we pass end - 1;
// - a failing handler does not stop it: the first failure is latched and ends the stream;
// - a second subscribe resumes at what was received, not at what was handled: one service per START;
// - each message costs it a string and a promise: frames go straight to the decoder;
// - nobody answers the server's reply requests: we do, at once when idle with a fresh position, else with the durable one.

import pg from "pg";
import { LogicalReplicationService } from "pg-logical-replication";
import { Transient } from "../errors.ts";
import { type Lsn, ZERO_LSN, formatLsn, maxLsn, toLsn } from "../lsn.ts";
import type { Batch, Moment, Source } from "../change/source.ts";
import { Decoder, type DecoderOptions } from "./decode.ts";
import { classify } from "./errors.ts";
import { Tap } from "./tap.ts";
import { asUnreadable, describeTag, unreadable } from "./tuple.ts";
import { Pending } from "./pending.ts";
import { outputOptions } from "./publication.ts";
import { CONNECT_OPTIONS, SESSION_SETTINGS, SILENCE_MS } from "./session.ts";
import { type Exported, exportSnapshot } from "./slot.ts";
import { type Server, type System, identifySystem, versionOf, whichServer } from "./walsender.ts";

/** A position without news is worth storing after this long, or this much WAL. */
const STORE_EVERY_MS = 10_000;
const STORE_EVERY_BYTES = 64n << 20n;
const STOP_TIMEOUT_MS = 2_000;
const XLOG_DATA = 0x77;
const KEEPALIVE = 0x6b;
/** So many requests for a reply at one position within this time are those of a server that is stopping. */
const INSISTS_TIMES = 20;
const INSISTS_WITHIN_MS = 1_000;

export interface StreamOptions extends DecoderOptions {
  readonly clientConfig: pg.ClientConfig;
  readonly slot: string;
  readonly publication: string;
  /**
   * Where to start; the server moves it up to the slot's confirmed position if that is later. Or, for a slot that is to end
   * with this connection: makes it, does what is to be done inside its snapshot, and says where to start.
   */
  readonly start: Lsn | ((makeSlot: () => Promise<Exported>) => Promise<Lsn>);
  /** Default: 60 s. */
  readonly silenceMs?: number | undefined;
  readonly signal: AbortSignal;
}

export interface Stream extends Source {
  readonly system: System;
  readonly server: Server;
  /** Process id of the walsender, which must be the holder of the slot. */
  readonly pid: number;
  /** How long ago the server was last heard, in milliseconds. */
  readonly silentForMs: number;
  /** Aborts when the stream has failed; its reason is the classed error. */
  readonly failed: AbortSignal;
  /** How far the server has sent, whether or not it is handled. */
  readonly received: Lsn;
  /** Nothing received is waiting for the consumer or being handled by it. */
  readonly idle: boolean;
  /** Asks the server to say where it stands. */
  ping(): void;
  /** Tells where the server stood, and when. */
  note(moment: Moment): void;
}

/** Starts streaming. Resolves when the server has accepted START; nothing is acknowledged before `durable` is called. */
export async function openStream(options: StreamOptions): Promise<Stream> {
  const stream = new SlotStream(options);
  try {
    await stream.start();
    return stream;
  } catch (error) {
    await stream[Symbol.asyncDispose]();
    throw error;
  }
}

class SlotStream implements Stream {
  readonly #decoder: Decoder;
  system: System = { systemId: "", timeline: 0 };
  server: Server = { address: "", startedAt: "" };
  readonly #options: StreamOptions;
  readonly #service: LogicalReplicationService;
  #client: pg.Client | undefined;
  readonly #failed = new AbortController();
  readonly #pending = new Pending();
  /** Position of the newest keepalive, valid while no transaction is open and none is pending. */
  #keepalive: Lsn = ZERO_LSN;
  #durable: Lsn;
  #storedAt = performance.now();
  #heardAt = performance.now();
  #replyWanted = false;
  #asked = { position: ZERO_LSN, since: 0, times: 0 };
  /** Nothing is said to the server before the checks after START have passed and `durable` was called once. */
  #checked = false;
  #handedOut = false;
  #tap: Tap | undefined;
  #tick: NodeJS.Timeout | undefined;
  #wake: () => void = () => undefined;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#durable = typeof options.start === "function" ? ZERO_LSN : options.start;
    this.#decoder = new Decoder(options);
    this.#service = new LogicalReplicationService(
      { ...CONNECT_OPTIONS, ...options.clientConfig },
      { acknowledge: { auto: false, timeoutSeconds: 0 } },
    );
  }

  get pid(): number {
    // `processID` is pg's own field, missing from its types.
    return (this.#client as unknown as { processID: number }).processID;
  }

  get idle(): boolean {
    return !this.#handedOut && this.#pending.empty && !this.#decoder.open;
  }

  get silentForMs(): number {
    return performance.now() - this.#heardAt;
  }

  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  get received(): Lsn {
    return maxLsn(this.#keepalive, this.#decoder.end);
  }

  async start(): Promise<void> {
    const { signal, slot } = this.#options;
    signal.throwIfAborted();
    const service = this.#service;
    service.on("error", (error) => this.#fail(classify(error)));
    // Making a temporary slot and reading the tables inside its snapshot may be silent for long.
    if (typeof this.#options.start === "function") service.once("start", () => this.#listen());
    else this.#listen();
    const accepted = new Promise<void>((resolve, reject) => {
      this.failed.addEventListener("abort", () => reject(this.failed.reason), { once: true });
      service.on("start", () => resolve());
    });
    // Ends with the stream, however that ends; a stream that ends before START was accepted never began.
    service.subscribe(this.#plugin() as never, slot).then(
      () => this.#fail(new Transient("the server ended the stream", { reason: "connection_lost" })),
      (error: unknown) => this.#fail(classify(error)),
    );
    signal.addEventListener("abort", this.#abandon, { once: true });
    await accepted;
  }

  #listen(): void {
    this.#heardAt = performance.now();
    this.#tick = setInterval(() => this.#onTick(), 1_000);
  }

  async *batches(signal: AbortSignal): AsyncGenerator<Batch> {
    const wake = (): void => this.#wake();
    signal.addEventListener("abort", wake, { once: true });
    try {
      for (;;) {
        if (signal.aborted) return;
        this.#failed.signal.throwIfAborted();
        const batch = this.#take();
        if (batch) {
          this.#handedOut = true;
          yield batch;
          this.#handedOut = false;
          continue;
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  durable(end: Lsn): void {
    this.#checked = true;
    this.#durable = maxLsn(this.#durable, end);
    this.#storedAt = performance.now();
    this.#replyWanted = false;
    this.#acknowledge(false);
  }

  ping(): void {
    this.#acknowledge(true);
  }

  note(moment: Moment): void {
    this.#pending.note(moment);
    this.#wake();
  }

  readonly #abandon = (): void => {
    this.#fail(this.#options.signal.reason);
    this.#client?.connection.stream.destroy();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    // The signal outlives many streams: it must not keep this one, its sieve and its decoder alive.
    this.#options.signal.removeEventListener("abort", this.#abandon);
    clearInterval(this.#tick);
    this.#fail(new Transient("the stream was closed", { reason: "closed" }));
    const socket = this.#client?.connection.stream;
    // stop() waits for the server's goodbye, which may never come; it has no limit of its own.
    const limit = setTimeout(() => socket?.destroy(), STOP_TIMEOUT_MS);
    try {
      await this.#service.stop();
    } catch {
      socket?.destroy();
    } finally {
      clearTimeout(limit);
    }
  }

  /** The library wants a plugin: it says START, and would parse messages if they came that way. */
  #plugin(): { name: string; options: object; start: unknown; parse: () => null } {
    return {
      name: "pgoutput",
      options: {},
      start: async (client: pg.Client, slot: string) => {
        this.#client = client;
        for (const statement of SESSION_SETTINGS) await client.query(statement);
        this.system = await identifySystem(client);
        this.server = await whichServer(client);
        const position = formatLsn(await this.#begin(client));
        const version = await versionOf(client);
        const options = Object.entries(outputOptions(this.#options.publication, version))
          .map(([name, value]) => `${name} ${pg.escapeLiteral(value).trimStart()}`)
          .join(", ");
        client.connection.removeAllListeners("copyData");
        client.connection.on("copyData", ({ chunk }: { chunk: Buffer }) => this.#onFrame(chunk));
        const tap = new Tap(client.connection.stream);
        this.#tap = tap;
        client.connection.stream.on("data", (chunk: Buffer) => tap.read(chunk.length));
        return client.query(
          `START_REPLICATION SLOT ${pg.escapeIdentifier(slot)} LOGICAL ${position} (${options})`,
        );
      },
      parse: () => null,
    };
  }

  async #begin(client: pg.Client): Promise<Lsn> {
    const { start, slot } = this.#options;
    if (typeof start !== "function") return start;
    this.#durable = await start(() => exportSnapshot(client, slot));
    return this.#durable;
  }

  /** https://www.postgresql.org/docs/18/protocol-replication.html, XLogData and primary keepalive. Valid only during the call. */
  #onFrame(frame: Buffer): void {
    this.#heardAt = performance.now();
    if (frame[0] === XLOG_DATA) this.#onMessage(frame.subarray(25));
    else if (frame[0] === KEEPALIVE)
      this.#onKeepalive(toLsn(frame.readBigUInt64BE(1)), frame[17] === 1);
    else this.#fail(unreadable(`a frame ${describeTag(frame[0])}`));
  }

  #onMessage(message: Buffer): void {
    if (this.#failed.signal.aborted) return;
    try {
      const tx = this.#decoder.decode(message);
      if (tx) {
        this.#pending.add(tx);
        if (this.#pending.many) this.#tap?.close();
        this.#wake();
      }
    } catch (error) {
      this.#fail(asUnreadable(error));
    }
  }

  #onKeepalive(position: Lsn, replyWanted: boolean): void {
    // Between transactions of a stream without news the keepalive is past every commit that was sent before it.
    if (!this.#decoder.open) this.#keepalive = maxLsn(this.#keepalive, position);
    if (!replyWanted) return;
    if (this.#isStopping(position)) {
      this.#fail(new Transient("the server is stopping", { reason: "server_stopping" }));
      return;
    }
    // Idle: the consumer stores this position and acknowledges it. Busy: say at least that we live.
    if (this.#handedOut || !this.#pending.empty || this.#decoder.open) this.#acknowledge(false);
    this.#replyWanted = true;
    this.#wake();
  }

  /** A server that stops asks again and again, at once, until everything that it sent is acknowledged. */
  #isStopping(position: Lsn): boolean {
    const now = performance.now();
    if (position !== this.#asked.position || now - this.#asked.since > INSISTS_WITHIN_MS)
      this.#asked = { position, since: now, times: 0 };
    this.#asked.times += 1;
    return this.#asked.times > INSISTS_TIMES;
  }

  #onTick(): void {
    const silence = performance.now() - this.#heardAt;
    const { silenceMs = SILENCE_MS } = this.#options;
    // While we do not listen the server is not silent; it only has to know that we live.
    if (silence > silenceMs && this.#tap?.closed !== true) {
      this.#fail(new Transient("no word from the server", { reason: "silence" }));
    } else if (silence > silenceMs / 4) this.ping();
    this.#wake();
  }

  /** What is ready for the consumer: news, or a position that is due. */
  #take(): Batch | null {
    if (this.#pending.end !== undefined) {
      const batch = this.#pending.take(this.#pending.end);
      this.#resume();
      return batch;
    }
    const end = this.#decoder.open ? this.#decoder.end : this.received;
    if (end <= this.#durable) {
      // Nothing new to confirm, but the server asked: repeat what is durable.
      if (this.#replyWanted) this.#acknowledge(false);
      this.#replyWanted = false;
      return this.#pending.reaches(end) ? this.#pending.take(end) : null;
    }
    const due =
      this.#replyWanted ||
      end - this.#durable > STORE_EVERY_BYTES ||
      performance.now() - this.#storedAt > STORE_EVERY_MS;
    return due ? this.#pending.take(end) : null;
  }

  #resume(): void {
    if (this.#tap?.closed !== true) return;
    this.#heardAt = performance.now();
    this.#tap.open();
  }

  #acknowledge(replyWanted: boolean): void {
    if (!this.#checked) return;
    // The library adds one byte; see above.
    void this.#service.acknowledge(formatLsn(toLsn(this.#durable - 1n)), replyWanted);
  }

  #fail(error: unknown): void {
    this.#failed.abort(error);
    this.#wake();
  }
}
