// A scrape's answer, written to its connection chunk by chunk. Not a web stream: that does not say when a chunk has left,
// so each would need a buffer of its own, and an answer that is given up would be told to the console.

import type { ServerResponse } from "node:http";
import { setImmediate as yieldToLoop } from "node:timers/promises";

export interface Answer {
  readonly headers: Readonly<Record<string, string>>;
  /** Chunks that need to stay as they are only until the next is asked for. */
  readonly body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /** The body is given up when it has not left by then; null for no limit. */
  readonly timeoutMs: number | null;
}

/**
 * Sends the answer with a status of 200. Others may run between two chunks, and a slow reader is waited for. Ends early, with the
 * work abandoned, when the client has gone or the time is over; the connection is then reset, so that what has arrived is
 * a failed scrape and not a shorter page. Throws what the body throws, also with the connection reset.
 */
export async function send(outgoing: ServerResponse, answer: Answer): Promise<void> {
  const { socket } = outgoing.req;
  const giveUp = (): unknown => socket.resetAndDestroy();
  const timer = answer.timeoutMs === null ? undefined : setTimeout(giveUp, answer.timeoutMs);
  try {
    outgoing.writeHead(200, answer.headers);
    for await (const chunk of answer.body) {
      if (socket.destroyed) return;
      await written(outgoing, chunk);
      await yieldToLoop();
      if (socket.destroyed) return;
    }
    outgoing.end();
  } catch (error) {
    giveUp();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves once the kernel has the chunk, or the connection is gone: then the callback of a write may never be called. */
function written(outgoing: ServerResponse, chunk: Uint8Array): Promise<void> {
  const { socket } = outgoing.req;
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("close", done);
      resolve();
    };
    socket.once("close", done);
    outgoing.write(chunk, done);
  });
}
