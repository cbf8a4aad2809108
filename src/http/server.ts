// A listening socket for the app, as a resource: plain, or with TLS as the web configuration has it now.

import { type Server, createServer as createPlain } from "node:http";
import { createServer as createTls } from "node:https";
import { serve } from "@hono/node-server";
import { NeedsOperator } from "../errors.ts";
import type { App } from "./app.ts";
import type { Log } from "../log.ts";
import { type Web, followPolicy } from "./handshakes.ts";
import type { WebPolicy } from "./web-files.ts";

const GOODBYE_MS = 1_000;
/** A connection on which nothing has moved for this long is closed. */
const STALLED_MS = 60_000;
const HANDSHAKE_MS = 10_000;

export interface Listener extends AsyncDisposable {
  /** The port that was bound, also where 0 was asked for. */
  readonly port: number;
  readonly scheme: "http" | "https";
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** Its `log` is told of handshakes that fail. */
  readonly web?: (Web & { readonly log: Log }) | undefined;
}

/** Listens until disposed; then running answers get a second to end. Throws `NeedsOperator` when the address can not be had. */
export async function listen(app: App, { host, port, web }: ListenOptions): Promise<Listener> {
  const policy = web?.settings.current() ?? null;
  // It was right a moment ago. Without it there would be neither TLS nor a login.
  if (web && policy === null)
    throw new NeedsOperator("the web configuration can not be used", {
      reason: "web_config",
      hint: "correct the file of --web-config; the log says what is wrong",
    });
  const tls = policy?.tls ? policy : null;
  const server = await new Promise<Server>((resolve, reject) => {
    const starting = serve(
      { fetch: app.fetch, hostname: host, port, ...(tls ? secured(tls) : PLAIN) },
      () => resolve(starting as Server),
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
  const closeRaw =
    web && tls ? followPolicy(server as SecureServer, { ...web, made: tls }) : undefined;
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    scheme: tls ? "https" : "http",
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const limit = setTimeout(() => {
        server.closeAllConnections();
        closeRaw?.();
      }, GOODBYE_MS);
      await closed;
      clearTimeout(limit);
    },
  };
}

type SecureServer = ReturnType<typeof createTls>;

const PLAIN = { createServer: createPlain };

function secured({ tls, clientAuth }: WebPolicy) {
  const serverOptions = {
    ...tls,
    requestCert: clientAuth !== "none",
    rejectUnauthorized: clientAuth === "required",
    handshakeTimeout: HANDSHAKE_MS,
  };
  return { createServer: createTls, serverOptions };
}
