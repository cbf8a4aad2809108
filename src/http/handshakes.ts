// TLS connections, each by the web configuration as it was when it came: certificates rotate without a restart.

import type { Server } from "node:https";
import type { Socket } from "node:net";
import { errorCode } from "../errors.ts";
import type { Log } from "../log.ts";
import type { WebPolicy, WebSettings } from "./web-files.ts";

/** The policy under which each TLS connection was made. */
export type Handshakes = WeakMap<object, WebPolicy>;

/** The web configuration, and where to note which connection was made under which state of it. */
export interface Web {
  readonly settings: Pick<WebSettings, "current">;
  readonly handshakes: Handshakes;
}

/** Has the server look at the policy at each connection. Returns what closes those that never got as far as HTTP. */
export function followPolicy(
  server: Server,
  {
    settings,
    handshakes,
    log,
    made,
  }: Web & { readonly log: Log; /** What the server was made with. */ readonly made: WebPolicy },
): () => void {
  let applied: WebPolicy | null = made;
  /** Connections by their other end: Node does not tell which of them a TLS socket was made of. */
  const raw = new Map<string, { readonly socket: Socket; readonly policy: WebPolicy | null }>();
  // Before Node's own listener, which begins the handshake.
  server.prependListener("connection", (socket: Socket) => {
    const policy = settings.current();
    // Without a certificate every handshake fails.
    if (policy !== applied) server.setSecureContext(policy?.tls ?? {});
    applied = policy;
    const end = otherEnd(socket);
    raw.set(end, { socket, policy });
    socket.once("close", () => {
      if (raw.get(end)?.socket === socket) raw.delete(end);
    });
  });
  server.prependListener("secureConnection", (socket) => {
    const policy = raw.get(otherEnd(socket))?.policy;
    if (policy) handshakes.set(socket, policy);
  });
  // Whoever scans ports would fill the log; who looks for a reason asks for it.
  server.on("tlsClientError", (error, socket) => {
    const reason = socket.authorizationError ?? errorCode(error);
    log.debug("a TLS handshake failed", { reason: String(reason) });
  });
  return () => {
    for (const { socket } of raw.values()) socket.destroy();
  };
}

const otherEnd = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`;
