// The flow of a socket that is read by events: closed while the consumer is behind, and rested after small reads.

interface Flowing {
  pause(): unknown;
  resume(): unknown;
}

/**
 * After a read of less than so many bytes the socket rests for a moment, so that the next read finds more: a server that streams
 * sends each message by itself, and a read costs as much as decoding fifty of them.
 */
const SMALL_READ = 32_768;
const REST_MS = 1;

export class Tap {
  readonly #socket: Flowing;
  #closed = false;
  #resting = false;

  constructor(socket: Flowing) {
    this.#socket = socket;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** To be told of each read, in bytes. */
  read(bytes: number): void {
    if (bytes >= SMALL_READ || this.#resting) return;
    this.#resting = true;
    this.#socket.pause();
    setTimeout(() => {
      this.#resting = false;
      if (!this.#closed) this.#socket.resume();
    }, REST_MS);
  }

  close(): void {
    this.#closed = true;
    this.#socket.pause();
  }

  open(): void {
    this.#closed = false;
    if (!this.#resting) this.#socket.resume();
  }
}
