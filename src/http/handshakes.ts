// TLS connections, each by the web configuration as it was when it came: certificates rotate without a restart.

import type { Server } from "node:https";
import type { Socket } from "node:net";
import type { WebPolicy, WebSettings } from "./web-files.ts";

/** The policy under which each TLS connection was made. */
export type Handshakes = WeakMap<object, WebPolicy>;

/** Has the server look at the policy at each connection. Returns what closes those that never got as far as HTTP. */
export function followPolicy(
  server: Server,
  { settings, handshakes }: { settings: Pick<WebSettings, "current">; handshakes: Handshakes },
): () => void {
  let applied = settings.current();
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
  return () => {
    for (const { socket } of raw.values()) socket.destroy();
  };
}

const otherEnd = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`;
