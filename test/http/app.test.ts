// Every endpoint, without a socket.

import { describe, expect, test } from "vitest";
import { createLog } from "../../src/log.ts";
import { createApp } from "../../src/http/app.ts";
import { toLsn } from "../../src/lsn.ts";
import type { Totals } from "../../src/metrics/pages.ts";
import { createProcessRegistry, createRegistry } from "../../src/metrics/registry.ts";
import { Vitals } from "../../src/metrics/vitals.ts";
import { CATALOG, foldOf, page } from "../support/folding.ts";
import { AGENT_NAMES, attempted, connected, uuid } from "../support/rows.ts";

const TEXT = "text/plain; version=0.0.4; charset=utf-8";
const LOG = createLog({ level: "error", format: "json", write: () => undefined });
const PROCESS = createProcessRegistry();

function setup(shown: Totals | null = null) {
  const vitals = new Vitals();
  const state = { shown };
  const view = {
    vitals,
    catalog: CATALOG,
    prefix: "",
    totals: () => state.shown,
    version: "1.2.3",
  };
  const app = createApp({
    ...view,
    log: LOG,
    registry: createRegistry(view),
    processRegistry: PROCESS,
  });
  /** Status, content type and body. */
  const get = async (path: string, method = "GET") => {
    const response = await app.request(path, { method });
    return {
      status: response.status,
      type: response.headers.get("Content-Type"),
      body: await response.text(),
    };
  };
  return { app, vitals, state, get };
}

const TOTALS = foldOf([attempted(), connected()]).publish();

describe("before anything is shown", () => {
  test("a scrape succeeds with our own health and no total", async () => {
    const { get } = setup();
    const { status, type, body } = await get("/metrics");
    expect({ status, type }).toEqual({ status: 200, type: TEXT });
    expect(body).toContain("firstlight_ready 0\n");
    expect(body).not.toMatch(/workspace_creation|agents_first_connection|dropped_samples/);
    expect(body.endsWith("\n")).toBe(true);
  });

  test("it is alive and not ready, and says why", async () => {
    const { get, vitals } = setup();
    expect(await get("/livez")).toMatchObject({ status: 200, body: "ok\n" });
    expect(await get("/readyz")).toMatchObject({ status: 503, body: "not ready: starting\n" });
    vitals.trouble = { reason: "slot_in_use", message: "the slot is held", hint: null };
    expect((await get("/readyz")).body).toBe("not ready: the slot is held\n");
    expect((await get("/livez")).status).toBe(200);
    expect(JSON.parse((await get("/api/status")).body)).toMatchObject({
      state: "not following",
      ready: false,
      received: null,
    });
  });
});

/** As after the check that follows START. */
const ready = () => {
  const all = setup(TOTALS);
  all.vitals.ready = true;
  return all;
};

describe("once totals are shown", () => {
  test("a scrape is our health and then the page of the totals, byte for byte", async () => {
    const { body, type } = await ready().get("/metrics");
    expect(type).toBe(TEXT);
    expect(body).toContain("firstlight_ready 1\n");
    expect(body.endsWith(page(TOTALS))).toBe(true);
    const names = [...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(new Set(names).size, "each metric stands there once").toBe(names.length);
  });

  test("it stays ready while the stream is broken", async () => {
    const { get, vitals } = ready();
    vitals.trouble = { reason: "connection_lost", message: "lost", hint: null };
    expect(await get("/readyz")).toMatchObject({ status: 200, body: "ok\n" });
    expect((await get("/metrics")).body).toContain(page(TOTALS));
  });

  test("totals that are hidden again are absent, not zero", async () => {
    const { get, state } = ready();
    state.shown = null;
    expect((await get("/metrics")).body).not.toContain("workspace_creation");
  });

  test("the status says where it stands", async () => {
    const { get, vitals } = ready();
    vitals.connected = true;
    const stateNow = async (): Promise<unknown> =>
      JSON.parse((await get("/api/status")).body).state;
    expect(await stateNow()).toBe("catching up");
    vitals.catchingUp = false;
    vitals.received = toLsn(0x16_b374d848n);
    expect(await stateNow()).toBe("following");
    expect((await get("/")).body).toContain("16/B374D848");
  });

  test("a scrape holds one root, whatever is committed while it is read", async () => {
    const facts = Array.from({ length: 3_000 }, (_, n) =>
      connected({ id: uuid(n), names: { ...AGENT_NAMES, workspace: `dev-${n}` } }),
    );
    const fold = foldOf([attempted(), ...facts]);
    const { app, state } = setup(fold.publish());
    const before = page(state.shown as Totals);

    const response = await app.request("/metrics");
    const decoder = new TextDecoder();
    let body = "";
    let chunks = 0;
    for await (const chunk of response.body as ReadableStream<Uint8Array>) {
      body += decoder.decode(chunk, { stream: true });
      chunks += 1;
      for (const fact of facts.slice(0, 600)) fold.add({ ...fact, id: uuid(chunks * 10_000) });
      state.shown = fold.publish();
    }
    expect(chunks).toBeGreaterThan(10);
    expect(body.endsWith(before)).toBe(true);
    expect(page(state.shown as Totals)).not.toBe(before);
  });

  test("a reader that goes away leaves nothing behind", async () => {
    const { app } = ready();
    const response = await app.request("/metrics");
    const reader = response.body?.getReader();
    expect((await reader?.read())?.done).toBe(false);
    await expect(reader?.cancel()).resolves.toBeUndefined();
  });
});

describe("any time", () => {
  test.each([
    ["/metrics", TEXT],
    ["/metrics/process", TEXT],
    ["/livez", expect.stringMatching(/^text\/plain; ?charset=utf-8$/i)],
    ["/api/status", "application/json"],
    ["/", "text/html; charset=UTF-8"],
  ])("%s answers HEAD as GET, without a body", async (path, type) => {
    const { get } = setup(TOTALS);
    expect(await get(path)).toMatchObject({ status: 200, type });
    expect(await get(path, "HEAD")).toEqual({ status: 200, type, body: "" });
  });

  test("process metrics are on a page of their own", async () => {
    const { get } = setup(TOTALS);
    expect((await get("/metrics/process")).body).toContain("process_start_time_seconds");
    expect((await get("/metrics")).body).not.toMatch(/process_|nodejs_/);
  });

  test("another path is not found and says which there are", async () => {
    const { get } = setup();
    for (const path of ["/metric", "/metrics/", "/api", "/../etc/passwd"]) {
      const { status, body } = await get(path);
      expect(status, path).toBe(404);
      expect(body).toContain("/metrics");
    }
    expect((await get("/metrics", "POST")).status).toBe(404);
  });

  test("an error inside says nothing of itself", async () => {
    const { app, state } = setup();
    Object.defineProperty(state, "shown", {
      get() {
        throw new Error("s3cret");
      },
    });
    const response = await app.request("/metrics");
    expect(response.status).toBe(500);
    expect(await response.text()).toBe("internal error\n");
  });

  test("the status page escapes what it shows and holds nothing from elsewhere", async () => {
    const { get, vitals } = setup(TOTALS);
    vitals.trouble = {
      reason: "x",
      message: '<script>alert("x")</script>',
      hint: "set <that> & this",
    };
    const { body } = await get("/");
    expect(body).not.toContain("<script");
    expect(body).toContain("&lt;script&gt;");
    expect(body).toContain("set &lt;that&gt; &amp; this");
    expect(body, "it loads nothing").not.toMatch(/\b(src|href)="(https?:)?\/\//);
  });

  test("no page shows names of workspaces or users but the metrics", async () => {
    const { get } = setup(TOTALS);
    for (const path of ["/", "/api/status", "/livez", "/readyz", "/metrics/process"])
      expect((await get(path)).body).not.toMatch(/alice|acme|docker/);
  });

  test("the JSON status has exactly the fields of its contract", async () => {
    const { get } = setup();
    expect(Object.keys(JSON.parse((await get("/api/status")).body)).sort()).toEqual(
      [
        "version",
        "state",
        "ready",
        "received",
        "applied",
        "durable",
        "inFlight",
        "divergent",
        "gaps",
        "trouble",
      ].sort(),
    );
  });
});
