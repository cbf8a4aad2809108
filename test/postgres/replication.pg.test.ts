// The stream as a resource: what it leaves behind when it ends, and how it ends when nobody answers.

import { getEventListeners } from "node:events";
import { type Server as Proxy, type Socket, createServer } from "node:net";
import { expect, test } from "vitest";
import { newCounts } from "../../src/change/counts.ts";
import { Waiting } from "../../src/change/waiting.ts";
import { Transient } from "../../src/errors.ts";
import { ZERO_LSN } from "../../src/lsn.ts";
import { type StreamOptions, openStream } from "../../src/postgres/replication.ts";
import { parseDatabaseUrl } from "../../src/postgres/url.ts";
import { released } from "../pipeline/support/scene.ts";
import { createDatabase } from "../support/database.ts";
import { publish, uniqueSlot } from "../support/firstlight.ts";

function streamOptions(url: string, slot: string, signal: AbortSignal): StreamOptions {
  return {
    clientConfig: parseDatabaseUrl(url),
    slot,
    publication: "firstlight",
    start: ZERO_LSN,
    waiting: new Waiting(),
    counts: newCounts(),
    onUnknown: () => undefined,
    signal,
  };
}

test("a stream that ended, or never began, is not kept alive by the signal that outlives it", async () => {
  await using database = await createDatabase();
  const client = await database.client();
  await publish(client);
  const slot = uniqueSlot();
  await client.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  const { signal } = new AbortController();
  for (let i = 0; i < 3; i += 1) {
    await released(client, slot);
    await using stream = await openStream(streamOptions(database.url, slot, signal));
    expect(getEventListeners(signal, "abort").length).toBeLessThanOrEqual(1);
    // Held by the first: the second never begins.
    await expect(openStream(streamOptions(database.url, slot, signal))).rejects.toThrow(Transient);
    expect(stream.pid).toBeGreaterThan(0);
  }
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("an abort ends a stream that is still waiting for START's answer", async () => {
  await using mute = await muteServer();
  const stop = new AbortController();
  const opening = openStream(streamOptions(mute.url, "any", stop.signal));
  await mute.connected;
  stop.abort(new Error("stopped"));
  await expect(opening).rejects.toThrow(/stopped/);
});

/** Accepts connections and never says a word. */
async function muteServer(): Promise<AsyncDisposable & { url: string; connected: Promise<void> }> {
  const sockets = new Set<Socket>();
  const { promise: connected, resolve: arrived } = Promise.withResolvers<void>();
  const server: Proxy = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.resume();
    arrived();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `postgres://nobody@127.0.0.1:${port}/none`,
    connected,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
