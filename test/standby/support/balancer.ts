// One address for several servers, as a load balancer or a DNS name with several addresses: each connection goes to the next.

import { type Socket, connect, createServer } from "node:net";
import type { Server } from "../../../src/demo/server.ts";
import { freePort } from "../../../src/demo/server.ts";
import { must } from "../../../src/errors.ts";

export interface Balancer extends AsyncDisposable {
  readonly port: number;
}

/** Spreads connections over these servers in turn. */
export async function balance(servers: readonly Server[]): Promise<Balancer> {
  const port = await freePort();
  const open = new Set<Socket>();
  let next = 0;
  const listener = createServer((client) => {
    const server = must(servers[next % servers.length], "no server");
    next += 1;
    const upstream = connect(server.port, "127.0.0.1");
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => {
    listener.listen(port, "127.0.0.1", resolve);
  });
  return {
    port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => listener.close(resolve));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
