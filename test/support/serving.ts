// The HTTP surface on a socket of its own, with totals, and requests whose bodies stay as they were sent.

import { type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { type RequestOptions, request as secureRequest } from "node:https";
import { buffer } from "node:stream/consumers";
import { createApp } from "../../src/http/app.ts";
import { createGuard } from "../../src/http/guard.ts";
import { Logins } from "../../src/http/logins.ts";
import { type Listener, listen } from "../../src/http/server.ts";
import { WebSettings } from "../../src/http/web-files.ts";
import { createLog } from "../../src/log.ts";
import type { Totals } from "../../src/metrics/pages.ts";
import { createProcessRegistry, createRegistry } from "../../src/metrics/registry.ts";
import { Vitals } from "../../src/metrics/vitals.ts";
import { type Facts, NO_FACTS } from "./facts.ts";
import { CATALOG } from "./folding.ts";

const PROCESS = createProcessRegistry();

export interface Answer {
  readonly status: number;
  readonly type: string | null;
  readonly headers: IncomingHttpHeaders;
  /** As it was sent, also where it is compressed. */
  readonly bytes: Buffer;
  readonly body: string;
}

export interface Asking extends Pick<RequestOptions, "agent" | "ca" | "cert" | "key"> {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Ask by TLS, as `localhost`. Default: as the listener does. */
  readonly secure?: boolean;
}

export interface Serving extends AsyncDisposable {
  readonly vitals: Vitals;
  /** What is shown; it may be set, and read by a getter of the test's. */
  readonly state: { shown: Totals | null };
  readonly port: number;
  /** Lines of the log, errors only. */
  readonly logged: readonly string[];
  /** Rejects when the connection ends before the body. */
  get(path: string, asking?: Asking): Promise<Answer>;
  /** The answer as soon as its headers are there; nothing of its body is read yet. */
  open(path: string, asking?: Asking): Promise<IncomingMessage>;
}

/** `shown`: the totals; `facts`: where single facts are found; `webConfig`: the file with TLS and basic auth. */
export async function serving(
  shown: Totals | null = null,
  facts: Facts = NO_FACTS,
  webConfig?: string,
): Promise<Serving> {
  const vitals = new Vitals();
  const state = { shown };
  const logged: string[] = [];
  const view = {
    vitals,
    catalog: CATALOG,
    prefix: "",
    totals: () => state.shown,
    version: "1.2.3",
  };
  const log = createLog({
    level: "error",
    format: "json",
    write: (line) => void logged.push(line),
  });
  const logins = new Logins();
  const web =
    webConfig === undefined
      ? undefined
      : { settings: new WebSettings(webConfig, log), handshakes: new WeakMap(), logins, log };
  const app = createApp({
    ...view,
    ...facts,
    log,
    guard: web && createGuard(web.settings, web),
    registry: createRegistry(view),
    processRegistry: PROCESS,
  });
  const listener: Listener = await listen(app, { host: "127.0.0.1", port: 0, web });
  const { port, scheme } = listener;
  const open = (path: string, asking: Asking = {}): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const ask = (asking.secure ?? scheme === "https") ? secureRequest : request;
      ask({ port, host: "localhost", family: 4, path, agent: false, ...asking }, resolve)
        .once("error", reject)
        .end();
    });
  return {
    vitals,
    state,
    port,
    logged,
    open,
    get: async (path, asking) => wholeAnswer(await open(path, asking)),
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]();
      logins[Symbol.dispose]();
    },
  };
}

/** Reads an answer to its end. Rejects when the connection ends before. */
export async function wholeAnswer(message: IncomingMessage): Promise<Answer> {
  const bytes = await buffer(message);
  return {
    status: message.statusCode ?? 0,
    type: message.headers["content-type"] ?? null,
    headers: message.headers,
    bytes,
    body: bytes.toString(),
  };
}
