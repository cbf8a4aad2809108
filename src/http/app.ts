// The HTTP surface, without a socket: everything it answers is read from memory.

import { setImmediate as yieldToLoop } from "node:timers/promises";
import { Hono } from "hono";
import type { Registry } from "prom-client";
import type { Log } from "../log.ts";
import { type Family, fullName } from "../metrics/catalog.ts";
import { TEXT_CONTENT_TYPE, renderTotals } from "../metrics/exposition.ts";
import type { Totals } from "../metrics/pages.ts";
import { renderRegistry } from "../metrics/registry.ts";
import type { Vitals } from "../metrics/vitals.ts";
import { statusOf, statusPage } from "./status.ts";

export interface AppOptions {
  readonly vitals: Vitals;
  readonly catalog: readonly Family[];
  readonly prefix: string;
  /** What may be shown now; null before the first check, and then the families are absent. */
  readonly totals: () => Totals | null;
  readonly registry: Registry;
  readonly processRegistry: Registry;
  readonly version: string;
  readonly log: Log;
}

/** All endpoints of the contract that this release has. */
export function createApp(options: AppOptions): Hono {
  const { vitals, version } = options;
  const app = new Hono();
  const families = new Set(options.catalog.map((family) => fullName(family, options.prefix)));
  const metricsHeaders = { "Content-Type": TEXT_CONTENT_TYPE, "Cache-Control": "no-store" };

  app.get("/metrics", async (c) => {
    // One root for the whole page: a scrape sees one moment, whatever is committed meanwhile.
    const totals = options.totals();
    const health = await renderRegistry(options.registry, families);
    return c.body(streamed(pageOf(health, totals, options.prefix)), 200, metricsHeaders);
  });
  app.get("/metrics/process", async (c) =>
    c.body(await renderRegistry(options.processRegistry), 200, metricsHeaders),
  );
  app.get("/livez", (c) => c.text("ok\n"));
  app.get("/readyz", (c) =>
    vitals.ready
      ? c.text("ok\n")
      : c.text(`not ready: ${vitals.trouble?.message ?? "starting"}\n`, 503),
  );
  app.get("/api/status", (c) => c.json(statusOf(vitals, version)));
  app.get("/", (c) => c.html(statusPage(statusOf(vitals, version))));
  app.notFound((c) =>
    c.text("not found; try /, /metrics, /metrics/process, /livez, /readyz, /api/status\n", 404),
  );
  app.onError((error, c) => {
    options.log.error("a request failed", { path: c.req.path, error });
    return c.text("internal error\n", 500);
  });
  return app;
}

function* pageOf(health: string, totals: Totals | null, prefix: string): Generator<string> {
  yield health;
  if (totals) yield* renderTotals(totals, prefix);
}

/** Chunks as a body that lets other work run between two of them and waits for a slow reader. */
function streamed(chunks: Generator<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = chunks.next();
      if (done) return controller.close();
      controller.enqueue(encoder.encode(value));
      await yieldToLoop();
    },
    cancel() {
      chunks.return(undefined);
    },
  });
}
