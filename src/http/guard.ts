// What stands before every endpoint where there is a web configuration: it is read anew, then headers, certificate, login.

import { TLSSocket } from "node:tls";
import type { HttpBindings } from "@hono/node-server";
import type { MiddlewareHandler } from "hono";
import { auth } from "hono/utils/basic-auth";
import type { Handshakes } from "./handshakes.ts";
import type { Logins } from "./logins.ts";
import type { WebPolicy, WebSettings } from "./web-files.ts";

/** Says `ok` and nothing else, to probes that can hold no password. */
const WITHOUT_LOGIN = "/livez";

export type Guard = MiddlewareHandler<{ Bindings: HttpBindings }>;

export function createGuard(
  settings: Pick<WebSettings, "current">,
  { logins, handshakes }: { readonly logins: Logins; readonly handshakes: Handshakes },
): Guard {
  return async (c, next) => {
    const { incoming, outgoing } = c.env;
    const policy = settings.current();
    if (policy === null) return c.text("the web configuration can not be used\n", 500);
    // Set on the connection's own answer: `/metrics` is written to it directly.
    for (const [name, value] of Object.entries(policy.headers)) outgoing.setHeader(name, value);
    const { socket } = incoming;
    if (socket instanceof TLSSocket) {
      const stale = handshakes.get(socket) !== policy;
      if (policy.clientAuth !== "none" && (stale || !admitted(socket, policy))) {
        // Who was let in by an older list of authorities comes in by the new one, or not at all.
        socket.destroy();
        return c.body(null, 403);
      }
      if (stale) outgoing.setHeader("Connection", "close");
    }
    if (policy.users.size === 0 || c.req.path === WITHOUT_LOGIN) return next();
    const given = auth(c.req.raw);
    const verdict =
      given === undefined
        ? "wrong"
        : await logins.check(policy.users, { user: given.username, password: given.password });
    if (verdict === "right") return next();
    if (verdict === "busy") return c.text("too many logins at once\n", 503, { "Retry-After": "1" });
    return c.text("login needed\n", 401, {
      "WWW-Authenticate": 'Basic realm="firstlight", charset="UTF-8"',
    });
  };
}

/** Whether the client's certificate is good, or there is none and none is needed. */
function admitted(socket: TLSSocket, { clientAuth }: WebPolicy): boolean {
  if (socket.authorized) return true;
  return clientAuth === "if given" && socket.getPeerX509Certificate() === undefined;
}
