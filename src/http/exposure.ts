// Who can read what is served. Pure.

import { isIP } from "node:net";
import type { WebPolicy } from "./web-files.ts";

/** What to say once of an address that others can reach; null when there is nothing to say. */
export function exposureOf(
  host: string,
  policy: Pick<WebPolicy, "tls" | "users" | "clientAuth"> | null,
): string | null {
  if (isLoopback(host)) return null;
  const encrypted = policy?.tls != null;
  if (policy?.clientAuth === "required") return null;
  if (!policy || policy.users.size === 0)
    return "whoever reaches this address can read names of users and workspaces; --web-config asks for a password or a certificate";
  return encrypted
    ? null
    : "passwords travel in plain text; give --web-config a certificate, or put a proxy with TLS before this address";
}

function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  return isIP(host) === 4 ? host.startsWith("127.") : host === "::1";
}
