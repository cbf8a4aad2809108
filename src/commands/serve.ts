// `serve`: follow and serve. Owns the store, the listener and the follower, and the order in which they end.

import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import { createApp } from "../http/app.ts";
import { exposureOf } from "../http/exposure.ts";
import { createGuard } from "../http/guard.ts";
import { Logins } from "../http/logins.ts";
import { type Listener, listen } from "../http/server.ts";
import { WebSettings } from "../http/web-files.ts";
import { createCatalog } from "../metrics/catalog.ts";
import type { Totals } from "../metrics/pages.ts";
import { createProcessRegistry, createRegistry } from "../metrics/registry.ts";
import { Vitals } from "../metrics/vitals.ts";
import type { FollowerOptions } from "../pipeline/context.ts";
import { run } from "../pipeline/run.ts";
import { startVerifying } from "../pipeline/verifying.ts";
import { searchFacts } from "../store/query.ts";
import { Store } from "../store/store.ts";
import { watchSeries } from "./series-limit.ts";

/** What is under way at a stop gets this long before it is given up; the whole stop must fit in 5 s. */
const GRACE_MS = 3_000;

export interface ServeOptions {
  readonly config: Config;
  readonly log: Log;
  readonly version: string;
  readonly signal: AbortSignal;
  /** Told once the endpoints answer, before anything is shown. */
  readonly onListening?: (listener: Listener) => void;
  /** For tests that end the process at a named moment. */
  readonly onPoint?: FollowerOptions["onPoint"];
  readonly timing?: FollowerOptions["timing"];
}

/** Serves until the signal aborts. Throws `NeedsOperator` where somebody must act first. */
export async function serve({
  config,
  log,
  version,
  signal,
  ...options
}: ServeOptions): Promise<void> {
  const { agentLabels, families, seriesLimit, seriesRetireAfterMs: retireAfterMs } = config;
  const catalog = createCatalog({ agentLabels, families });
  const retireUpTo = retireAfterMs === null ? null : () => (Date.now() - retireAfterMs) * 1_000;
  using store = Store.open({ path: config.statePath, catalog, seriesLimit, retireUpTo });
  const vitals = new Vitals();
  let shown: Totals | null = null;
  const view = { vitals, catalog, prefix: config.metricPrefix, totals: () => shown, version };
  const { webConfig } = config;
  using logins = new Logins();
  const web =
    webConfig === undefined
      ? undefined
      : { settings: new WebSettings(webConfig, log), handshakes: new WeakMap(), logins, log };
  const app = createApp({
    ...view,
    log,
    guard: web && createGuard(web.settings, web),
    search: (question) => searchFacts(config.statePath, question),
    coderUrl: config.coderUrl ?? null,
    registry: createRegistry(view),
    processRegistry: createProcessRegistry(),
  });
  await using listener = await listen(app, { ...config.listen, web });
  const { host } = config.listen;
  log.info("listening", { host, port: listener.port, scheme: listener.scheme });
  const exposure = exposureOf(host, web?.settings.current() ?? null);
  if (exposure !== null) log.warn("open to the network", { host, what: exposure });
  options.onListening?.(listener);

  const watch = watchSeries(log);
  const show = (totals: Totals | null): void => {
    shown = totals;
    if (!totals) return;
    vitals.ready = true;
    watch(totals);
  };
  const abandon = new AbortController();
  const grace = (): void => {
    setTimeout(() => abandon.abort(signal.reason), GRACE_MS).unref();
  };
  signal.addEventListener("abort", grace, { once: true });
  const { verifyEveryMs: everyMs } = config;
  await using _verifying =
    everyMs === null ? null : startVerifying({ config, log, vitals, everyMs, signal });
  const { onPoint, timing } = options;
  await run(
    { config, store, show, vitals, log, onPoint, timing },
    { stop: signal, abandon: abandon.signal },
  );
  log.info("stopped");
}
