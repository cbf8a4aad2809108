// The network between Firstlight and its server, as bad as a test wants it: a TCP proxy in this process that can lose, cut,
// slow down and swallow bytes, tells replication connections from SQL sessions, and remembers what was acknowledged.

import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lsn } from "../../../src/lsn.ts";
import {
  Acknowledgements,
  Messages,
  type Status,
  isReplication,
  readsSlot,
  statusOf,
} from "./wire.ts";

export type Direction = "toServer" | "toClient";

/** What happens to the bytes of one direction from now on. */
export type Mode =
  | { readonly kind: "pass" }
  /** Each byte arrives so much later. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Each byte in a packet of its own. */
  | { readonly kind: "trickle" }
  /** Accepted and never delivered; an end of the other side is kept secret, too. */
  | { readonly kind: "blackhole" }
  /** After so many further bytes both sides are cut off: by a reset, or by a polite FIN. */
  | { readonly kind: "cut"; readonly after: number; readonly how: "reset" | "end" };

export type Modes = Partial<Readonly<Record<Direction, Mode>>>;

/** One connection through the proxy. */
export interface Link {
  /** Counts from 0 in the order in which they were accepted. */
  readonly index: number;
  readonly replication: boolean;
  /** Whether the slot is, or was, read on it: by a stream or in bursts. */
  readonly reads: boolean;
  /** Delivered so far. */
  readonly bytes: Readonly<Record<Direction, number>>;
  /** Status updates that the client sent, whether or not they were delivered. */
  readonly statuses: readonly Status[];
  /** Positions that the client acknowledged, by status updates or by moving the slot in SQL, delivered or not. */
  readonly acknowledged: readonly Lsn[];
  readonly open: boolean;
  /** Whether a `cut` has come to its end. */
  readonly cut: boolean;
  set(modes: Modes): void;
}

export interface Proxy extends AsyncDisposable {
  readonly port: number;
  /** All links whose startup packet has been seen, those that are closed too. */
  readonly links: readonly Link[];
  /** The same URL, by way of this proxy. */
  url(direct: string): string;
  /** For every connection that is there and that will come. */
  setAll(modes: Modes): void;
  /** Nobody listens from now on; connections that are there stay. */
  refuse(): Promise<void>;
  admit(): Promise<void>;
}

export interface ProxyOptions {
  /** Of the server, on 127.0.0.1. */
  readonly port: number;
  /** Told of each new link before its first byte is delivered. */
  readonly onLink?: (link: Link) => void;
  /** What to send in place of a message of the client's; it may take its time. Default: the message itself. */
  readonly onMessage?: (message: Buffer, link: Link) => Buffer | Promise<Buffer>;
}

/** Listens on a free port of 127.0.0.1. Disposing cuts all links. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const links: ProxyLink[] = [];
  let modes: Modes = {};
  let accepted = 0;
  const accept = (client: Socket): void => {
    const link = new ProxyLink({ client, index: accepted++, options, modes: () => modes });
    links.push(link);
  };
  let listener = await listen(accept, 0);
  const { port } = listener.address() as AddressInfo;
  const refuse = async (): Promise<void> => {
    if (!listener.listening) return;
    // Resolves only when all connections have ended, which may be long after.
    listener.close();
  };
  return {
    port,
    get links() {
      return links.filter((link) => link.started);
    },
    url(direct) {
      const url = new URL(direct);
      url.port = String(port);
      return url.href;
    },
    setAll(next) {
      modes = next;
      for (const link of links) link.set(next);
    },
    refuse,
    async admit() {
      if (!listener.listening) listener = await listen(accept, port);
    },
    async [Symbol.asyncDispose]() {
      await refuse();
      for (const link of links) link.destroy();
    },
  };
}

async function listen(accept: (client: Socket) => void, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

interface LinkOptions {
  readonly client: Socket;
  readonly index: number;
  readonly options: ProxyOptions;
  /** Of all links, when this one begins. */
  readonly modes: () => Modes;
}

class ProxyLink implements Link {
  readonly index: number;
  replication = false;
  reads = false;
  started = false;
  cut = false;
  readonly bytes = { toServer: 0, toClient: 0 };
  readonly statuses: Status[] = [];
  readonly acknowledged: Lsn[] = [];
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #options: ProxyOptions;
  readonly #modes: Record<Direction, Mode> = {
    toServer: { kind: "pass" },
    toClient: { kind: "pass" },
  };

  constructor({ client, index, options, modes }: LinkOptions) {
    this.index = index;
    this.#options = options;
    this.#client = client;
    this.#server = connect({
      port: options.port,
      host: "127.0.0.1",
      allowHalfOpen: true,
      noDelay: true,
    });
    for (const socket of [client, this.#server]) socket.on("error", () => this.#lost(socket));
    void this.#carry("toServer", this.#fromClient(modes));
    void this.#carry("toClient", chunks(this.#server));
  }

  get open(): boolean {
    return !this.#client.destroyed && !this.#server.destroyed;
  }

  set(modes: Modes): void {
    Object.assign(this.#modes, modes);
  }

  destroy(): void {
    this.#client.destroy();
    this.#server.destroy();
  }

  /** Whole messages, so that a test can hold one back; what is cut is decided byte by byte when they are delivered. */
  async *#fromClient(modes: () => Modes): AsyncGenerator<Buffer> {
    const messages = new Messages();
    const acknowledgements = new Acknowledgements();
    for await (const chunk of chunks(this.#client)) {
      for (const message of messages.take(chunk)) {
        if (!this.started) {
          this.started = true;
          this.replication = isReplication(message);
          this.set(modes());
          this.#options.onLink?.(this);
        }
        this.reads ||= readsSlot(message);
        const status = statusOf(message);
        if (status) this.statuses.push(status);
        const acknowledged = acknowledgements.take(message);
        if (acknowledged !== null) this.acknowledged.push(acknowledged);
        yield (await this.#options.onMessage?.(message, this)) ?? message;
      }
    }
  }

  async #carry(direction: Direction, source: AsyncIterable<Buffer>): Promise<void> {
    const target = direction === "toServer" ? this.#server : this.#client;
    let delivered = Promise.resolve();
    for await (const chunk of source) {
      const mode = this.#modes[direction];
      const dueAt = performance.now() + (mode.kind === "delay" ? mode.ms : 0);
      delivered = this.#deliver(direction, { chunk, dueAt, after: delivered });
      // With a delay the bytes are on their way while more are read; without, the reader waits for the writer.
      if (mode.kind !== "delay") await delivered;
    }
    await delivered;
    if (!this.#swallows) target.end();
  }

  async #deliver(
    direction: Direction,
    { chunk, dueAt, after }: { chunk: Buffer; dueAt: number; after: Promise<void> },
  ): Promise<void> {
    await after;
    const early = dueAt - performance.now();
    if (early > 0) await sleep(early);
    const target = direction === "toServer" ? this.#server : this.#client;
    // Looked up now: a delayed chunk meets what holds when it arrives.
    const mode = this.#modes[direction];
    switch (mode.kind) {
      case "blackhole":
        return;
      case "trickle":
        for (const byte of chunk) await write(target, Buffer.of(byte));
        break;
      case "cut": {
        const left = mode.after - chunk.length;
        this.set({ [direction]: { ...mode, after: left } });
        await write(target, chunk.subarray(0, mode.after));
        if (left <= 0) this.#cut(mode.how);
        break;
      }
      default:
        await write(target, chunk);
    }
    this.bytes[direction] += chunk.length;
  }

  #cut(how: "reset" | "end"): void {
    this.cut = true;
    this.set({ toServer: { kind: "blackhole" }, toClient: { kind: "blackhole" } });
    for (const socket of [this.#client, this.#server])
      if (how === "reset") socket.resetAndDestroy();
      else socket.end();
  }

  get #swallows(): boolean {
    return this.#modes.toServer.kind === "blackhole" || this.#modes.toClient.kind === "blackhole";
  }

  /** One side has gone: the other hears of it, unless that is what must not be heard. */
  #lost(side: Socket): void {
    if (this.#swallows) return;
    for (const socket of [this.#client, this.#server])
      if (socket !== side) socket.resetAndDestroy();
  }
}

/** What a socket brings until it ends, however it ends. */
async function* chunks(socket: Socket): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
  } catch {
    // A reset: whoever listens for errors has heard of it.
  }
}

async function write(socket: Socket, bytes: Buffer): Promise<void> {
  if (bytes.length === 0 || socket.destroyed || socket.writableEnded) return;
  if (socket.write(bytes)) return;
  const drained = new AbortController();
  const { signal } = drained;
  const events = [once(socket, "drain", { signal }), once(socket, "close", { signal })];
  await Promise.race(events).catch(() => undefined);
  drained.abort();
}
