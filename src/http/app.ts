// The HTTP surface: everything it answers is read from memory, but for single facts.

import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import type { Registry } from "prom-client";
import type { Log } from "../log.ts";
import { type Family, fullName } from "../metrics/family.ts";
import { type Part, TEXT_CONTENT_TYPE, packed, partsOf } from "../metrics/exposition.ts";
import type { Totals } from "../metrics/pages.ts";
import { renderRegistry } from "../metrics/registry.ts";
import type { Vitals } from "../metrics/vitals.ts";
import { acceptsGzip, scrapeTimeoutMs } from "./accept.ts";
import { type FactsOptions, facts } from "./facts.ts";
import type { Guard } from "./guard.ts";
import { GzipCache } from "./gzip.ts";
import { send } from "./scrape.ts";
import { statusOf, statusPage } from "./status.ts";

/** Rendered in a fraction of a millisecond, and all that a scrape without gzip has in memory at once. */
const CHUNK_BYTES = 262_144;

const TEXT_HEADERS = { "Content-Type": TEXT_CONTENT_TYPE, "Cache-Control": "no-store" };

/** Endpoints need the connection itself where they write to it: `/metrics`. */
export type App = Hono<{ Bindings: HttpBindings }>;
type Request = Context<{ Bindings: HttpBindings }>;

export interface AppOptions extends Pick<FactsOptions, "search" | "coderUrl"> {
  readonly vitals: Vitals;
  readonly catalog: readonly Family[];
  readonly prefix: string;
  /** What may be shown now; null before the first check, and then the families are absent. */
  readonly totals: () => Totals | null;
  readonly registry: Registry;
  readonly processRegistry: Registry;
  readonly version: string;
  readonly log: Log;
  /** What every request has to pass first. */
  readonly guard?: Guard | undefined;
}

/** All endpoints of the contract that this release has. */
export function createApp(options: AppOptions): App {
  const { vitals, version } = options;
  const app: App = new Hono();
  if (options.guard) app.use(options.guard);
  const endpoints: Readonly<Record<string, (c: Request) => Response | Promise<Response>>> = {
    "/": (c) => c.html(statusPage(statusOf(vitals, version))),
    "/metrics": scraping(options),
    "/metrics/process": async (c) =>
      c.body(await renderRegistry(options.processRegistry), 200, TEXT_HEADERS),
    "/livez": (c) => c.text("ok\n"),
    "/readyz": (c) =>
      vitals.ready
        ? c.text("ok\n")
        : c.text(`not ready: ${vitals.trouble?.message ?? "starting"}\n`, 503),
    "/api/status": (c) => c.json(statusOf(vitals, version)),
    "/api/facts": facts({ ...options, ready: () => options.totals() !== null }),
  };
  for (const [path, answer] of Object.entries(endpoints)) {
    app.get(path, answer);
    app.all(path, (c) => c.text("only GET and HEAD\n", 405, { Allow: "GET, HEAD" }));
  }
  const paths = Object.keys(endpoints).join(", ");
  app.notFound((c) => c.text(`not found; there are ${paths}\n`, 404));
  app.onError((error, c) => {
    options.log.error("a request failed", { path: c.req.path, error });
    return c.env?.outgoing?.headersSent ? RESPONSE_ALREADY_SENT : c.text("internal error\n", 500);
  });
  return app;
}

/** Answers `/metrics`: our health, then the totals, as text or as gzip. */
function scraping(options: AppOptions): (c: Request) => Promise<Response> {
  const families = new Set(options.catalog.map((family) => fullName(family, options.prefix)));
  const cache = new GzipCache(CHUNK_BYTES);
  return async (c) => {
    const gzip = acceptsGzip(c.req.header("Accept-Encoding"));
    const headers = {
      ...TEXT_HEADERS,
      Vary: "Accept-Encoding",
      ...(gzip ? { "Content-Encoding": "gzip" } : {}),
    };
    if (c.req.method === "HEAD") return c.body(null, 200, headers);
    // One moment for the whole page: the root and all that the vitals say are taken before anything is waited for, and what is
    // committed meanwhile is in neither.
    const { outgoing } = c.env;
    const totals = options.totals();
    const health = await renderRegistry(options.registry, families);
    const parts = pageOf(health, totals, options.prefix);
    await send(outgoing, {
      headers,
      body: gzip ? cache.gzip(parts) : asText(parts),
      timeoutMs: scrapeTimeoutMs(c.req.header("X-Prometheus-Scrape-Timeout-Seconds")),
    });
    return RESPONSE_ALREADY_SENT;
  };
}

function* pageOf(health: string, totals: Totals | null, prefix: string): Generator<Part> {
  yield { of: {}, count: 1, text: () => health };
  if (totals) yield* partsOf(totals, prefix);
}

function* asText(parts: Iterable<Part>): Generator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  for (const part of parts) yield* packed(part, buffer);
}
