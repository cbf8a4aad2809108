// A listening socket for the app, as a resource.

import type { Server } from "node:http";
import { serve } from "@hono/node-server";
import { NeedsOperator } from "../errors.ts";
import type { App } from "./app.ts";

const GOODBYE_MS = 1_000;
/** A connection on which nothing has moved for this long is closed. */
const STALLED_MS = 60_000;

export interface Listener extends AsyncDisposable {
  /** The port that was bound, also where 0 was asked for. */
  readonly port: number;
}

/** Listens until disposed; then running answers get a second to end. Throws `NeedsOperator` when the address can not be had. */
export async function listen(
  app: App,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<Listener> {
  const server = await new Promise<Server>((resolve, reject) => {
    const starting = serve({ fetch: app.fetch, hostname: host, port }, () =>
      resolve(starting as Server),
    );
    starting.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        new NeedsOperator(`can not listen on ${host}:${port} (${cause.code ?? cause.message})`, {
          reason: "listen",
          hint: "choose another address with --listen (FIRSTLIGHT_LISTEN), or stop what uses it",
          cause,
        }),
      ),
    );
  });
  // A client that asks and never reads would hold its socket, and the page it asked for, for ever.
  server.setTimeout(STALLED_MS);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const limit = setTimeout(() => server.closeAllConnections(), GOODBYE_MS);
      await closed;
      clearTimeout(limit);
    },
  };
}
